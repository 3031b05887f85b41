"""Other people's networks, with made-up weights: the published ones are not to be had here."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import efficientnet_b0, efficientnet_v2_s, resnet18, resnet50

from trainer.config import ModelConfig
from trainer.errors import CheckpointError, ConfigError
from trainer.foreign_resnets import PLAIN, TWEAKED, foreign_resnet
from trainer.models.baselines import baseline
from trainer.models.build import build
from trainer.pretrained import Foreign, from_timm, from_torchvision


def unsettled(network: nn.Module) -> nn.Module:
    """With statistics, γ and β that no two layers share, and logits of a size to compare."""
    generator = torch.Generator().manual_seed(3)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.running_var, part.weight, part.running_mean, part.bias):
                assert tensor is not None
                low = 0.5 if tensor is part.running_var or tensor is part.weight else -0.2
                tensor.data = low + torch.rand(tensor.shape, generator=generator)
    return network.eval()


@torch.inference_mode()
def same_answers(name: str, found: Foreign, theirs: nn.Module) -> None:
    model: ModelConfig = baseline(name, num_classes=7) if found.resnet is None else found.resnet[1]
    assert found.resnet is None or found.resnet[0] == name
    model = model.with_(num_classes=7, norm_eps=found.norm_eps)
    ours = build(model).eval()
    ours.load_state_dict(dict(found.weights))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "ours", "make"),
    [
        ("efficientnet_b0", "efficientnet-b0", efficientnet_b0),
        ("efficientnet_v2_s", "efficientnet-v2-s", efficientnet_v2_s),
        ("resnet18", "resnet-18", resnet18),
        ("resnet50", "resnet-50", resnet50),
    ],
)
def test_a_file_of_torchvisions_weights(name: str, ours: str, make: object, tmp_path: Path) -> None:
    theirs = unsettled(make(num_classes=7))  # type: ignore[operator]
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    same_answers(ours, from_torchvision(name, file=tmp_path / "w.pth"), theirs)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("efficientnet_b0", "efficientnet-b0"),
        ("efficientnetv2_s", "efficientnet-v2-s"),
        ("resnet34", "resnet-34"),
        ("resnet50d", "resnet-50-d"),
        ("seresnet18", "resnet-18-se"),
        ("seresnet50", "resnet-50-se"),
        ("resnetblur50", "resnet-50-blurred"),
    ],
)
def test_a_file_of_timms_weights(name: str, ours: str, tmp_path: Path) -> None:
    theirs = unsettled(timm.create_model(name, num_classes=7))
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    same_answers(ours, from_timm(name, file=tmp_path / "w.safetensors"), theirs)


def test_a_file_without_counters_of_batches_is_as_good(tmp_path: Path) -> None:
    theirs = unsettled(resnet18(num_classes=7))
    state = {k: v for k, v in theirs.state_dict().items() if "num_batches" not in k}
    torch.save(state, tmp_path / "w.pth")
    same_answers("resnet-18", from_torchvision("resnet18", file=tmp_path / "w.pth"), theirs)


def test_a_resnet_with_imagenets_classes_is_known_by_them(tmp_path: Path) -> None:
    save_file(resnet18().state_dict(), tmp_path / "w.safetensors")  # which sorts the names
    found = from_torchvision("resnet18", file=tmp_path / "w.safetensors")
    assert found.class_names[0] == "tench"
    assert found.mean == (0.485, 0.456, 0.406)
    assert list(found.weights)[-1] == "classifier.bias"


def test_published_weights_are_taken_from_where_torchvision_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"efficientnet_b0_.*\.pth .*--download.*=FILE"):
        from_torchvision("efficientnet_b0")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    theirs = efficientnet_b0()
    torch.save(theirs.state_dict(), folder / "efficientnet_b0_rwightman-7f5810bc.pth")
    found = from_torchvision("efficientnet_b0")
    assert len(found.class_names) == 1000
    assert found.class_names[0] == "tench"
    assert found.mean == (0.485, 0.456, 0.406)
    assert torch.equal(found.weights["classifier.1.bias"], theirs.state_dict()["classifier.1.bias"])


@pytest.mark.parametrize("name", ["efficientnet_b99", "resnext50_32x4d", ""])
def test_what_is_no_network_of_torchvision_that_we_have(name: str) -> None:
    with pytest.raises(ConfigError, match=r"torchvision: unknown value .*efficientnet_b0"):
        from_torchvision(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tf_efficientnet_b0", "padded as TensorFlow's"),
        ("efficientnet_b99", "Did you mean 'efficientnet_b"),
        ("regnety_002", "no network of ours"),
        ("efficientnet_b0", "no weights on this machine; add --download, or name a file"),
    ],
)
def test_what_timm_cannot_give(
    name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    file = tmp_path / "w.safetensors"
    if name == "regnety_002":
        save_file(timm.create_model(name).state_dict(), file)
    with pytest.raises(CheckpointError, match=says):
        from_timm(name, file=file if file.exists() else None)


def test_a_file_of_another_network(tmp_path: Path) -> None:
    save_file(timm.create_model("efficientnet_b1").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="tensors are not this network's"):
        from_timm("efficientnet_b0", file=tmp_path / "w.safetensors")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04"])
def test_a_file_that_is_none(content: bytes, tmp_path: Path) -> None:
    for name in ("w.pth", "w.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="no file of weights"):
            from_torchvision("efficientnet_b0", file=tmp_path / name)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="no state dictionary"):
        from_torchvision("efficientnet_b0", file=tmp_path / "w.pth")


@pytest.mark.parametrize("name", [*PLAIN, *TWEAKED])
def test_a_resnet_lists_the_layers_that_timms_does(name: str) -> None:
    known = foreign_resnet(name)
    assert known is not None
    with torch.device("meta"):
        theirs, ours = timm.create_model(name), build(known[1])
    assert [x.shape for x in ours.state_dict().values()] == [
        x.shape for x in theirs.state_dict().values()
    ]
