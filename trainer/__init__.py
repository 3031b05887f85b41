"""Turns one `TrainConfig` into a trained model; knows no search, tuner, tracker or pipeline."""
