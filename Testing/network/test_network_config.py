"""Our typed configurations build the networks that SAM2's own files describe."""

from pathlib import Path

import pytest
import sam2
from hydra.utils import instantiate
from omegaconf import OmegaConf
from SAM2_3dMedLib.network.build import build_network
from SAM2_3dMedLib.network.config import SIZE_NAMES, ConfigError, NetworkConfig, Parts, network_config

YAML_FILES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


def _shapes(network) -> dict:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


@pytest.mark.parametrize(("name", "image_size"), [("tiny", 512), *((name, 1024) for name in YAML_FILES)])
def test_keys_and_shapes_are_those_of_the_yaml_that_sam2_ships(name: str, image_size: int) -> None:
    settings = OmegaConf.load(Path(sam2.__file__).parent / f"configs/sam2.1/sam2.1_hiera_{YAML_FILES[name]}.yaml")
    settings.model.image_size = image_size
    reference = instantiate(settings.model, _recursive_=True)
    ours = build_network(network_config(name, image_size))
    assert _shapes(ours) == _shapes(reference)
    trunk, reference_trunk = ours.image_encoder.trunk, reference.image_encoder.trunk
    assert tuple(trunk.window_spec) == tuple(reference_trunk.window_spec)
    assert [block.window_size for block in trunk.blocks] == [block.window_size for block in reference_trunk.blocks]
    for setting in ("sigmoid_scale_for_mem_enc", "multimask_output_for_tracking", "num_maskmem", "fixed_no_obj_ptr"):
        assert getattr(ours, setting) == getattr(reference, setting)


def test_nano_has_at_most_twelve_million_parameters_with_every_part() -> None:
    network = build_network(network_config("nano", parts=Parts.all()))
    assert sum(weight.numel() for weight in network.parameters()) <= 12_000_000


def test_configuration_survives_json() -> None:
    config = network_config("nano", 256, Parts.all())
    assert NetworkConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unheard_of": 1}, "unheard_of"),
        ({"image_size": 500}, "multiple of 32"),
        ({"trunk": {"embed_dim": 4}}, "trunk|incomplete"),
    ],
)
def test_bad_configurations_are_named(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NetworkConfig.from_dict(network_config("nano").to_dict() | change)


def test_unknown_size_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="nano, tiny, small, base_plus, large"):
        network_config("huge")


@pytest.mark.parametrize("name", SIZE_NAMES)
@pytest.mark.parametrize("parts", [Parts.none(), Parts.all()], ids=["plain", "all parts"])
def test_every_network_has_more_than_its_least_weights_and_not_many_more(name: str, parts: Parts) -> None:
    config = network_config(name, parts=parts)
    count = sum(value.numel() for value in build_network(config).state_dict().values())
    assert 0.7 * count < config.least_weights < count
