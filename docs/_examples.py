"""A small example for each method: code that is run when the site is built, and what it prints."""

from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from textwrap import dedent

from fedrec.defenses.base import Reduce

ATTACK = """
    from fedrec.attacks.KIND import NAME
    from fedrec.models.mf import MF
    from fedrec.rng import Streams
    from fedrec.testing import attacker_view, dense_items, informed

    attack = NAME()
    view = informed(attacker_view(MF(dim=8), users=60, items=30), attack)
    forged = attack.forge(view, attack.initial_state(), Streams(0, round=1)).updates
    for name, upload in (("benign", view.benign), ("forged", forged)):
        norms = dense_items(upload)[0].norm(dim=1)
        moved = int((norms > 1e-4).sum())
        print(f"{name}: {moved} of {len(norms)} items move, mean norm {norms.mean():.4f}")
"""
DEFENSE = """
    import torch
    IMPORTS
    from fedrec.testing import random_updates, server_view

    honest = random_updates(n=10, items=40, d=8)
    received = honest.scaled(torch.tensor([1.0] * 8 + [20.0] * 2))
    defense = Defense.compose([PARTS])
    for name, some in (("plain mean", Defense.compose([Mean()])), ("NAME", defense)):
        decision = some(received, server_view(received, expected_malicious=2))
        norm, kept = decision.gradient.items.norm(), decision.kept.nonzero().flatten().tolist()
        print(f"{name}: kept {kept}, norm of the aggregate {norm:.3f}")
"""
TASK = """
    from fedrec.defenses.KIND import NAME
    from fedrec.testing import client_view, dense_items

    view = client_view(cohort=(4, 0, 3), users=6, items=30)
    changed = NAME().on_clients(view.plain, view).updates.written_out()
    apart = (dense_items(changed) - dense_items(view.plain.updates)).abs()
    print(f"mean size of a coordinate: {dense_items(view.plain.updates).abs().mean():.2e}")
    print(f"mean change of a coordinate: {apart.mean():.2e}")
    print(f"coordinates that change: {(apart > 0).float().mean():.0%}")
"""
PIECK = """
    from dataclasses import replace

    from fedrec.defenses.pieck import PIECK
    from fedrec.models.base import Shared
    from fedrec.rng import Streams
    from fedrec.testing import client_view, dense_items

    view = client_view(cohort=(4, 0, 3), users=6, items=30, streams=Streams(0, round=200))
    items = view.shared.items.clone()
    items[7] += 2.0
    items[2] += 1.0
    view, method = replace(view, shared=Shared(items, view.shared.dense)), PIECK(popular=2)
    honest = method.on_clients(view.plain, view)
    apart = (dense_items(honest.updates) - dense_items(view.plain.updates)).abs().sum((0, 2))
    print("popular items:", method.mined(view).items.tolist())
    print("items that are pulled:", apart.nonzero().flatten().tolist())
    for name, local in (("plain", view.plain.local), ("PIECK", honest.local)):
        norms = [round(norm, 3) for norm in local.norm(dim=1).tolist()]
        print(f"{name}: norms of the users' gradients {norms}")
"""
UNION = """
    import torch
    from fedrec.defenses.union import Union
    from fedrec.testing import random_updates, server_view
    from fedrec.updates import Updates

    honest = random_updates(n=10, items=40, d=8)
    two = torch.tensor([8, 9])
    collapse = (honest.table - honest.table.mean(0)).repeat(2, 1, 1)
    forged = Updates.over_all_items(honest.select(torch.arange(10) >= 8), collapse,
                                    honest.dense[two])
    received = honest.scaled(torch.full((10,), 0.05)).replaced(two, forged)
    view = server_view(received, expected_malicious=2, learning_rate=0.5)
    judged = Union(preview="sgd").judge(received, torch.ones(10, dtype=torch.bool), view)
    print("uniformity:", [round(d, 3) for d in judged.scores["uniformity"].tolist()])
    print("kept:", judged.keep.nonzero().flatten().tolist())
"""
MODEL = """
    from fedrec.models.KIND import NAME
    from fedrec.testing import client_view

    view = client_view(NAME(dim=8), cohort=(4, 0, 3), users=6, items=30)
    print(f"shared: {tuple(view.shared.items.shape)} item embeddings, "
          f"{view.shared.dense.numel()} other parameters")
    print(f"uploads of three clients: {view.plain.updates.weight.tolist()} samples, "
          f"norms {[round(norm, 4) for norm in view.plain.updates.norms().tolist()]}")
"""
LEADS = {
    "union": "Ten clients upload gradients. The last two pull all items to one point. UNION "
    "previews each upload, and measures how far apart items would be.",
    "fl_wbc": "FL-WBC changes what honest clients upload: here, on three clients.",
    "pieck": "Two items have moved far since the first round. Three clients draw the other items "
    "of their pairs towards these, and their own embeddings away.",
    "attacks": "Two of sixty malicious users are in a round. This is what one of them uploads, and "
    "what it would upload if it were honest.",
    "defenses": "Ten clients upload random gradients, and the last two upload twenty times too "
    "much.",
    "models": "A federation of six users, three of whom are in a round.",
}


def of(group: str, kind: str, cls: type) -> str:
    """The example of a method, as a section of its page."""
    code = _code(group, kind, cls)
    return (
        f"## An example\n\n{LEADS.get(kind, LEADS[group])}\n\n```python\n{code}```\n\n"
        f"```text\n{_printed(code)}```\n\nThis code is run whenever the site is built."
    )


def _code(group: str, kind: str, cls: type) -> str:
    own = {"union": UNION, "fl_wbc": TASK, "pieck": PIECK}
    template = own.get(kind) or {"attacks": ATTACK, "defenses": DEFENSE, "models": MODEL}[group]
    parts = [f"{cls.__name__}()"] + ([] if issubclass(cls, Reduce) else ["Mean()"])
    imports = {
        "from fedrec.defenses.base import Defense",
        "from fedrec.defenses.mean import Mean",
        f"from fedrec.defenses.{kind} import {cls.__name__}",
    }
    text = dedent(template).lstrip().replace("IMPORTS", "\n".join(sorted(imports)))
    return (
        text.replace("KIND", kind).replace("NAME", cls.__name__).replace("PARTS", ", ".join(parts))
    )


@cache
def _printed(code: str) -> str:
    printed = StringIO()
    with redirect_stdout(printed):
        exec(compile(code, "example", "exec"), {})
    return printed.getvalue()
