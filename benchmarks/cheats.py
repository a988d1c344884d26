"""Is a program rewarded that cheats the verifier instead of doing what is asked?

Every cheat of the tamper set (environments/puzzles/cheats.py) is handed in for each of some puzzles, as a model would
hand it in; beside it the right program, which must be rewarded every time, or nothing would be said by the zeros.
"""

from __future__ import annotations

import random
import sys

from record import ROOT, Record, options

from tenth.jail import keeper


def main() -> None:
    sys.path.append(str(ROOT / "environments"))
    from puzzles import Puzzles
    from puzzles.chains import Chain
    from puzzles.cheats import CHEATS

    chosen = options(__doc__, puzzles=(5, "puzzles that each cheat is handed in for"))
    record = Record("cheats", (__doc__ or "").partition("\n")[0], chosen)
    env = Puzzles("induce", depths=(2, 3, 4))
    tasks = env.tasks(random.Random(0), chosen.puzzles)
    verdicts: dict[str, list[str]] = {}
    with keeper.opened() as jail:
        honest = sum(env.verify(task, Chain(tuple(task.meta["chain"])).source(), jail).score == 1 for task in tasks)
        rewarded = 0
        for name, source in CHEATS.items():
            found = [env.verify(task, source, jail) for task in tasks]
            rewarded += any(one.score or one.parts["shown"] == 1 for one in found)
            verdicts[name] = [one.evidence["jail"] for one in found]
    record.figure("right programs rewarded, to compare", f"of {len(tasks)}", {"n": len(tasks), "p50": honest},
                  {"p50": (">=", len(tasks))})  # fmt: skip
    measured = {"n": len(CHEATS), "p50": rewarded}
    record.figure("known cheats of a verifier that are rewarded", f"of {len(CHEATS)}", measured, {"p50": ("<=", 0)})
    record.detail(verdicts=verdicts)
    record.finish()


if __name__ == "__main__":
    main()
