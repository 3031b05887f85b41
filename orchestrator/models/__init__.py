"""Trained models in use: found by what a user calls them, asked about pictures, handed on."""
