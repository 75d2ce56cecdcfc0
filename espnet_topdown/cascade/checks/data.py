"""Whether the lists and vocabularies that the phases of a plan read are there.

That they fit one another, and their shape files, is `espnet_topdown.cascade.other_data`'s.
"""

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown import check
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.phase_data import tokens_of
from espnet_topdown.plan.plan import Entry, Phase, Plan
from espnet_topdown.text_files import read_tokens


def has_own_tokens(plan: Plan) -> bool:
    """Whether any phase of a plan has another vocabulary than the base."""
    return any(item.tokens for item in _items(plan))


def vocabularies(base: Experiment, phases: Sequence[Phase]) -> dict[str, int]:
    """Token list -> the number of its tokens; "" stands for the base's.

    Raises:
        TopdownError: a list cannot be read.
    """
    sizes = {path: len(read_tokens(Path(path))) for path in _token_lists(phases)}
    return {"": len(tokens_of(base.config)), **sizes}


def of_base(base: Experiment, phases: Sequence[Phase]) -> list[str]:
    """Token lists of phases that list the base's own tokens, in its order.

    Raises:
        TopdownError: a list cannot be read.
    """
    own = tokens_of(base.config)
    return [path for path in _token_lists(phases) if read_tokens(Path(path)) == own]


def _token_lists(phases: Sequence[Phase]) -> dict[str, None]:
    return dict.fromkeys(phase.tokens for phase in phases if phase.tokens)


def reads_other_data(plan: Plan) -> bool:
    """Whether any phase of a plan reads anything instead of what the base reads."""
    return any(item.tokens or item.data for item in _items(plan))


def _items(plan: Plan) -> list[Plan | Entry]:
    """The header and the items, in all of which other data can be named."""
    return [plan, *plan.entries]


def _gone(base: Experiment, named: Sequence[str]) -> list[str]:
    """The message about files that the base's config names and that are not there, if any."""
    if not named:
        return []
    message = (
        f"{base.directory}/config.yaml names files that are not there, seen from {Path.cwd()}:"
        f" {', '.join(named[:4])}. Run in the recipe directory, or prepare the data again"
    )
    return [message]


def check_base(base: Experiment) -> None:
    """Refuse a base whose lists are gone, where every phase reads them.

    Raises:
        TopdownError: they are, as seen from where trainings would run.
    """
    check.refuse(_gone(base, base.missing_data()), f"{base.directory} has no data here")


def check_phases(base: Experiment, phases: Sequence[Phase]) -> None:
    """Refuse phases whose lists, or the feature statistics of their parent, are gone.

    Raises:
        TopdownError: they are, as seen from where trainings would run; all at once.
    """
    faults = []
    own = set(base.missing_data())
    statistics = str(check.mapping_in(base.config, "normalize_conf").get("stats_file"))
    for phase in phases:
        missing = base.missing_data(phase)
        if statistics in missing:
            faults.append(
                f"{phase.name} has no feature statistics: {base.directory}/config.yaml names"
                f" {statistics}, which is not there; a phase, on other data too, needs its parent's"
                " and takes no others. Bring that file back"
            )
        not_of_base = [path for path in missing if path not in own]
        if phase.tokens in not_of_base:
            not_of_base.remove(phase.tokens)
            faults.append(
                f"{phase.name} has no tokens, seen from {Path.cwd()}: {phase.tokens} is not there."
                " Make the list by the recipe's stage 5 and another --token_type, or mend the path"
            )
        if not_of_base:
            faults.append(
                f"{phase.name} reads what is not there, seen from {Path.cwd()}:"
                f" {', '.join(not_of_base[:4])}. Give directories with files of the names that the"
                " base reads, such as dump/raw/SET after stages 3 and 4 of the recipe"
            )
        faults += _gone(base, [path for path in missing if path in own and path != statistics])
    check.refuse(faults, f"the phases of {base.directory} cannot be trained here")
