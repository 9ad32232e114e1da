"""A virtual card with its memory and a medium on both, for tests that use it as the host backend does."""

from gpucert.device.simulated import scenario
from gpucert.device.simulated.card import VirtualCard
from gpucert.device.simulated.medium import VirtualMedium


class Bench:
    """A card, its memory and a medium on both."""

    def __init__(self, model, *lines, probe="memory_scan", **hooks):
        text = f'model = "{model}"\n' + "\n".join(lines)
        self.scenario = scenario.parse(text, "test")
        self.card = VirtualCard(self.scenario)
        self.memory = bytearray(self.card.memory_bytes)
        self.medium = VirtualMedium(self.scenario, self.memory, self.card.advance, probe, 0.0, **hooks)

    def again(self, words, flush=True, first=0, **how):
        """Store, flush unless told otherwise, load."""
        self.medium.store(first, words, 0, **how)
        if flush:
            self.medium.flush()
        return self.medium.load(first, len(words), 1)

    def read(self, word):
        """One word past the L2."""
        self.medium.flush()
        return int(self.medium.load(word, 1, 0)[0])


def fault(kind, **fields):
    """The lines of one fault in a scenario."""
    return f'[[fault]]\nkind = "{kind}"\n' + "\n".join(f"{name} = {value}" for name, value in fields.items())
