import pytest

from parsl_pcm.provider.gpus import GIB, find_gpu


@pytest.mark.parametrize(
    ("name", "model", "gib", "capability"),
    [
        ("nvidia_a100-sxm4-80gb", "a100", 80, 8.0),
        ("a100", "a100", 40, 8.0),
        ("A100-PCIE-40GB", "a100", 40, 8.0),
        ("a100_80", "a100", 80, 8.0),
        ("NVIDIA A100 80GB PCIe", "a100", 80, 8.0),
        ("v100s", "v100s", 32, 7.0),
        ("v100", "v100", 16, 7.0),
        ("tesla_v100-sxm2-32gb", "v100", 32, 7.0),
        ("titanx", "titanx", 12, 5.2),
        ("TITAN X (Pascal)", "titanxpascal", 12, 6.1),
        ("TITAN Xp", "titanxp", 12, 6.1),
        ("nvidia_geforce_gtx_1080_ti", "gtx1080ti", 11, 6.1),
        ("rtx_2080ti", "rtx2080ti", 11, 7.5),
        ("quadro_rtx_6000", "rtx6000", 24, 7.5),
        ("NVIDIA RTX 6000 Ada Generation", "rtx6000ada", 48, 8.9),
        ("NVIDIA RTX A6000", "a6000", 48, 8.6),
        ("NVIDIA GeForce RTX 4090", "rtx4090", 24, 8.9),
        ("Tesla T4", "t4", 16, 7.5),
        ("NVIDIA A10", "a10", 24, 8.6),
        ("l40s", "l40s", 48, 8.9),
        ("h100_pcie", "h100", 80, 9.0),
        ("nvidia_h100_80gb_hbm3", "h100", 80, 9.0),
        ("NVIDIA H100 NVL", "h100nvl", 94, 9.0),
        ("NVIDIA H200", "h200", 141, 9.0),
        ("NVIDIA GH200 480GB", "gh200", 96, 9.0),  # 480 GB is the memory of its CPU
        ("AMD Instinct MI250X", "mi250x", 64, None),
        ("mi300x", "mi300x", 192, None),
    ],
)
def test_gpu_is_found_by_the_names_of_sites(
    name: str, model: str, gib: int, capability: float | None
) -> None:
    facts = find_gpu(name)
    assert facts is not None
    assert (facts.model, facts.compute_capability) == (model, capability)
    assert 0.9 * gib * GIB <= facts.memory_bytes <= gib * GIB


@pytest.mark.parametrize("name", ["", "gpu", "gpu:4", "fast", "tesla", "nvidia", "gb"])
def test_what_is_no_model_is_not_guessed(name: str) -> None:
    assert find_gpu(name) is None


@pytest.mark.parametrize("name", ["a100_1g.5gb", "nvidia_a100_1g.5gb", "a100-1g_5gb"])
def test_slice_has_the_memory_of_its_name_and_its_share_of_the_bandwidth(name: str) -> None:
    facts, whole = find_gpu(name), find_gpu("a100")
    assert facts is not None
    assert whole is not None
    assert 0.9 * 5 * GIB <= facts.memory_bytes <= 5 * GIB
    assert facts.compute_capability == 8.0
    assert facts.bandwidth_gb_per_s == pytest.approx((whole.bandwidth_gb_per_s or 0.0) / 8)


def test_slice_of_an_unnamed_gpu_is_at_least_an_ampere() -> None:
    facts = find_gpu("3g.20gb")
    assert facts is not None
    assert (facts.compute_capability, facts.bandwidth_gb_per_s) == (8.0, None)


def test_newer_gpus_of_a_line_are_faster() -> None:
    line = ["p100", "v100", "a100", "h100", "h200", "b200"]
    speeds = [facts.bandwidth_gb_per_s or 0.0 for name in line if (facts := find_gpu(name))]
    assert len(speeds) == len(line)
    assert speeds == sorted(speeds)
