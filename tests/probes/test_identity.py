"""Identity: the silicon's own figures, and never a zero for what is not known."""

from gpucert.reading import Absence, Absent
from gpucert.stress.backend import Properties
from tests.fakes import FakeBench, InProcessCard, faulty, run_probe


def test_it_reads_the_chip_and_not_the_label() -> None:
    bench = run_probe("identity")
    assert bench.number("sm_count") == 108
    assert bench.number("bus_width") == 5120
    assert abs(bench.number("peak_bandwidth") - 2039) < 1
    assert not bench.unset


def test_a_counterfeit_shows_its_real_chip() -> None:
    bench = run_probe("identity", faulty('kind = "counterfeit"\nactual_model = "NVIDIA CMP 170HX"'))
    assert bench.number("sm_count") == 70
    assert bench.card.identity().name == "NVIDIA A100-SXM4-80GB"


def test_zeros_of_a_driver_are_no_values() -> None:
    from gpucert.probes import identity

    card = InProcessCard('model = "NVIDIA A10"\n')
    bench = FakeBench(card, card.backend(), "identity")
    nothing = Properties("x", "8.0", 0, 0, 0, 0.0, 0, 0)
    bench.backend.properties = lambda: nothing  # type: ignore[method-assign]
    identity.run(bench)
    assert {value.absent for value in bench.values.values() if isinstance(value, Absent)} == {Absence.ABSURD}
    assert len(bench.values) == 5
