"""What attackers that know the server's rule can compute in a round."""

from dataclasses import replace

from jaxtyping import Int
from torch import Tensor

from fedrec.attacks.base import ServerRule
from fedrec.clients.devices import Devices
from fedrec.defenses.base import ClientView, Defense, Memory, ServerView
from fedrec.rng import Streams
from fedrec.server import Server
from fedrec.updates import Gradient, Updates


def server_rule(
    defense: Defense,
    server: Server,
    devices: Devices,
    assumed: tuple[int, int],
    streams: Streams,
    memory: Memory,
) -> ServerRule:
    """Return the server's rule, for the attackers with these devices.

    `assumed` has the number f of malicious uploads that the server assumes, and the cohort's size
    n. For fewer uploads than n, f is smaller in proportion, and rounded up. The attackers know what
    the defence remembers (`memory`), which their computations leave as it is.
    """
    shared, (f, clients) = server.shared, assumed
    # The seeds of runs are not negative. So this is the seed of no run, and the attacker's draws
    # (UNION's items, DnC's coordinates) are not those of the server.
    own = replace(streams, seed=~streams.seed)

    def honest(positions: Int[Tensor, " n"], streams: Streams) -> Updates:
        batch = devices.pairs.batch(positions, streams)
        plain = devices.train(shared, positions, batch, streams)
        view = ClientView(shared, devices, positions, batch, plain, streams)
        return defense.on_clients(plain, view).updates

    def aggregate(uploads: Updates) -> Gradient:
        expected = min(f, -(-f * len(uploads) // clients))
        copied = {name: tensor.clone() for name, tensor in memory.items()}
        view = ServerView(shared, server.preview, expected, own, copied)
        return defense(uploads, view).gradient

    return ServerRule(honest, server.preview, aggregate)
