"""Models as folders: written with everything a prediction needs, loaded by installed code only.

::

    mmp_manifest.json          every other file with its SHA-256; what wrote them, on what
    bundle.json state.npz      the pipeline and what goes with the model, as plain data
    baseline.json              the training columns' distributions
    estimator/                 the library's own file
    transformers/              scikit-learn transformers, where a step of the recipe is one
    golden/                    synthetic requests and their answers
    MLmodel conda.yaml python_env.yaml requirements.txt input_example.json …    for MLflow
    environment.lock           all that was installed

No file holds code, and none names code that loading would look up.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

import mmp
from mmp.errors import ArtifactError, DataError, MissingExtraError
from mmp.modeling import golden
from mmp.modeling.bundle import Bundle
from mmp.tracking import environment, manifest, signature
from mmp.tracking.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

VERSION_DRIFT: Final = "version-drift"
_FORMATS: Final = {
    "": "yaml",
    ".cbm": "cbm",
    ".json": "json",
    ".lock": "text",
    ".npz": "npz",
    ".pkl": "pickle",
    ".skops": "skops",
    ".txt": "text",
    ".ubj": "ubj",
    ".yaml": "yaml",
}
# What has a say in the numbers of an engine's models. NumPy has in all of them.
_LIBRARIES: Final[dict[str, tuple[str, ...]]] = {
    "catboost": ("catboost",),
    "lightgbm": ("lightgbm",),
    "linear": (),
    "sklearn": ("scikit-learn", "scipy", "skops"),
    "xgboost": ("xgboost",),
}
_GUESTS: Final = ("pandas", *_LIBRARIES["sklearn"])
# Files of these promise nothing to other versions; boosters' own formats do.
_BOUND_TO_MINOR: Final = frozenset({"scikit-learn"})

# What it comes to when plain data of the right names has another shape than ours.
_OTHER_SHAPE: Final = (
    ArithmeticError,
    AttributeError,
    BadZipFile,
    DataError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


def write(bundle: Bundle, folder: Path, *, run_id: str, recipe_digest: str) -> str:
    """Write a model folder.

    Equal bundles, written for the same run in the same environment, give equal bytes.

    Parameters
    ----------
    bundle : Bundle
        The model, with its examples.
    folder : Path
        Created, or empty.
    run_id : str
        The run that it is logged to.
    recipe_digest : str
        SHA-256 of the recipe that it was trained from.

    Returns
    -------
    str
        SHA-256 of the manifest: the model's identity, for the run's tag `manifest.TAG`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bundle.save(folder)
    golden.write(bundle, folder)
    libraries = _libraries(bundle)
    signature.write(bundle, folder, run_id=run_id, libraries=libraries)
    facts = {
        "mmp": mmp.__version__,
        "python": environment.python_version(),
        "run_id": run_id,
        "recipe_digest": recipe_digest,
        "engine": bundle.model.engine,
        "libraries": environment.versions(libraries),
        "machine": environment.machine(),
    }
    return manifest.seal(folder, facts, _FORMATS)


def load(folder: Path | str, *, expected_digest: str | None = None, trust: Collection[str] = ()) -> Bundle:
    """Load a model folder from anywhere.

    Parameters
    ----------
    folder : Path or str
        What `write` wrote, wherever it went since.
    expected_digest : str, optional
        What `write` returned, kept elsewhere. With it a folder that was rewritten in a consistent
        way is found too.
    trust : collection of str
        Words that the config's ``trust`` says: dotted types that the estimator may hold, ``pickle``,
        and `VERSION_DRIFT` for a scikit-learn model of another minor version.

    Returns
    -------
    Bundle
        Verified, and answering its golden rows as it did when it was written.

    Raises
    ------
    ArtifactError
        Where anything is not as it was written, or not trusted.

    Warns
    -----
    UserWarning
        Where a library's version is another than the writer's.
    """
    with scratch("model") as copy:
        facts = manifest.verified_copy(Path(folder), copy, expected_digest=expected_digest).facts
        same = _check_versions(facts, trust)
        exact = same and facts.get("machine") == environment.machine()
        try:
            return golden.check(Bundle.load(copy, trust=trust), copy, exact=exact)
        except _OTHER_SHAPE as error:
            raise ArtifactError(
                f"The model's content is not what mmp writes ({type(error).__name__}: {error}).",
                hint="Load it with the version of mmp that wrote it, or train again.",
            ) from error


def _libraries(bundle: Bundle) -> tuple[str, ...]:
    guests = _GUESTS if bundle.pipeline.has_guests else ()
    own = (library for engine in bundle.model.libraries for library in _LIBRARIES[engine])
    return tuple(dict.fromkeys(("numpy", *own, *guests)))


def _check_versions(facts: Mapping[str, Any], trust: Collection[str]) -> bool:
    """Tell whether the libraries are the writer's; refuse what must not differ, warn of the rest."""
    written = facts.get("libraries")
    if not isinstance(written, dict) or not set(written) <= set(environment.KNOWN):
        raise ArtifactError("The model's manifest names no libraries that mmp knows.", hint="Train again.")
    here = environment.versions(tuple(written))
    if absent := sorted(set(written) - set(here)):
        pins = " ".join(f"{library}=={written[library]}" for library in absent)
        raise MissingExtraError(
            f"The model needs {', '.join(absent)}, not installed here.", hint=f"pip install {pins}"
        )
    drifted = [library for library in here if here[library] != written[library]]
    for library in drifted:
        said = f"{library} {written[library]} wrote the model, {here[library]} is installed"
        bound = library in _BOUND_TO_MINOR and _minor(written[library]) != _minor(here[library])
        if bound and VERSION_DRIFT not in trust:
            raise ArtifactError(
                f"{said}, and its files are not made for that.",
                hint=f"Install {library}=={written[library]}, or trust '{VERSION_DRIFT}' in the config.",
            )
        warnings.warn(f"{said}. Its golden rows decide whether it answers the same.", stacklevel=3)
    return not drifted


def _minor(version: object) -> list[str]:
    return str(version).split(".")[:2]
