"""``damgan weights``: which weights there are, and the way from and to the Hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from damgan_cli.cli import console
from damgan_cli.cli.options import WEIGHTS_METAVAR, Command, Group, complete_weights
from damgan_cli.errors import ExitCode, WeightsError

if TYPE_CHECKING:
    from damgan_cli.weights.folder import Found

app = typer.Typer(cls=Group, help="List, check, download and publish weights.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        metavar=WEIGHTS_METAVAR, autocompletion=complete_weights, help="The weights.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]


@app.command("list", cls=Command)
def list_(as_json: Json = False) -> None:
    """List the embedded weights and those in the Hub cache. Touches no network.

    \b
    [bold]Examples[/]
      damgan weights list
      damgan weights list --json
    """  # noqa: D301
    from rich.table import Table

    from damgan_cli.weights.find import local_weights

    entries = []
    for found in local_weights():
        try:
            entries.append(_entry(found))
        except WeightsError as problem:  # one damaged folder hides no other
            console.warn(str(problem))
    if as_json:
        console.print_json({"version": 1, "command": "weights list", "weights": entries})
        return
    table = Table("name", "origin", "revision", "MiB", "licence", box=None, pad_edge=False)
    for entry in entries:
        refs = f" ({', '.join(entry['refs'])})" if entry["refs"] else ""
        revision = f"{entry['revision'][:12]}{refs}" if entry["revision"] else "-"
        name = entry["name"].partition("@")[0]
        size = f"{entry['bytes'] / 2**20:.1f}"
        table.add_row(name, entry["source"], revision, size, entry["license"] or "not stated")
    console.stdout.print(table)


@app.command("info", cls=Command)
def info(name: Name, as_json: Json = False, offline: Offline = False) -> None:
    """Show what weights are: architecture, training, scores, licence, digest.

    Weights of the Hub that are not here yet are downloaded.

    \b
    [bold]Examples[/]
      damgan weights info faces
      damgan weights info runs/mine
      damgan weights info ORG/REPO --json
    """  # noqa: D301
    from damgan_cli.weights.find import find_weights

    entry = _entry(find_weights(name, offline=offline), with_config=True)
    if as_json:
        console.print_json({"version": 1, "command": "weights info", **entry})
        return
    config = entry.pop("config")
    for key, value in {**entry, **config}.items():
        plain = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        typer.echo(f"{key}: {plain}")


@app.command("pull", cls=Command)
def pull(
    repo: Annotated[str, typer.Argument(metavar="ORG/REPO[@REV]", help="On the Hub.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Download weights into the Hub cache and check them, for use without a network later.

    Afterwards --weights ORG/REPO works with --offline. Damaged files in the cache are fetched anew.

    \b
    [bold]Examples[/]
      damgan weights pull ORG/REPO
      damgan weights pull ORG/REPO@v1.2
      HF_HOME=/shared/hf damgan weights pull ORG/REPO
    """  # noqa: D301
    from damgan_cli.weights.find import load_weights

    weights = load_weights(repo)
    if weights.source != "hub":
        raise WeightsError(
            f"{repo} is no Hub repository: these weights are here already ({weights.folder}).",
            "Give ORG/REPO, or use them as they are.",
        )
    entry = _entry(weights)
    if as_json:
        console.print_json({"version": 1, "command": "weights pull", **entry})
    else:
        typer.echo(entry["path"])
        console.note(f"{repo} is there and whole, commit {weights.revision}")


@app.command("push", cls=Command)
def push(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN|NAME|PATH",
            autocompletion=complete_weights,
            help="A training's folder, or weights.",
            show_default=False,
        ),
    ],
    repo: Annotated[str, typer.Argument(metavar="ORG/REPO", help="On the Hub.", show_default=False)],
    create: Annotated[bool, typer.Option("--create", help="Make the repository if there is none.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Make it private (with --create).")] = False,
    license: Annotated[  # noqa: A002
        str | None,
        typer.Option(
            "--license",
            metavar="ID",
            help="Record this licence in the weights first: a Hub identifier, such as cc-by-nc-4.0.",
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="ORG/NAME", help="Record a Hub dataset they were trained on."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Publish weights with their model card, in one commit.

    The token is the one of `hf auth login`, or HF_TOKEN. Weights are checked before anything is sent.

    \b
    [bold]Examples[/]
      damgan weights push runs/mine ORG/REPO --create --private
      damgan weights push runs/mine ORG/REPO --license cc-by-nc-4.0
    """  # noqa: D301
    from damgan_cli.weights import hub
    from damgan_cli.weights.find import find_weights
    from damgan_cli.weights.folder import annotate_weights, read_weights

    if private and not create:
        raise WeightsError(
            "--private only matters for a repository that is made.", "Add --create, or leave it out."
        )
    found = find_weights(name, offline=True)
    weights = read_weights(found)
    if license or dataset:
        if found.source != "folder":
            raise WeightsError(
                f"{name} are published weights: their licence is not yours to change.",
                "Leave out --license and --dataset.",
            )
        annotate_weights(found.folder, license=license, datasets=dataset)
        weights = read_weights(found)
    if not weights.info.get("license"):
        console.warn("these weights state no licence, so nobody else may use them; see --license")
    commit, url = hub.push(weights.folder, repo, create=create, private=private or None)
    if as_json:
        console.print_json(
            {"version": 1, "command": "weights push", "repo": repo, "revision": commit, "url": url}
        )
    else:
        typer.echo(url)


@app.command("verify", cls=Command)
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar=f"[{WEIGHTS_METAVAR}]...",
            autocompletion=complete_weights,
            help="Weights; all that `damgan weights list` shows if left out.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check weights: config.json, digest, every name and every shape. Touches no network.

    Exit code 1 if any are not as they should be. Also says what a publication would lack.

    \b
    [bold]Examples[/]
      damgan weights verify
      damgan weights verify runs/mine ORG/REPO
    """  # noqa: D301
    from damgan_cli.weights.find import find_weights, local_weights
    from damgan_cli.weights.folder import read_weights
    from damgan_cli.weights.format import CARD_FILE

    results: list[dict[str, Any]] = []
    for target in names or local_weights():
        result: dict[str, Any] = {"name": str(target), "ok": True, "error": None, "lacks": []}
        try:
            found = find_weights(target, offline=True) if isinstance(target, str) else target
            result["name"] = found.name
            config = read_weights(found).info
            wanted = ("name", "license", "preset", "training", "validation")
            result["lacks"] = [key for key in wanted if not config.get(key)]
            result["lacks"] += [CARD_FILE] * (not (found.folder / CARD_FILE).is_file())
        except WeightsError as problem:
            result |= {"ok": False, "error": str(problem)}
        results.append(result)
        if not as_json:
            lacks = f" (states no {', '.join(result['lacks'])})" if result["lacks"] else ""
            typer.echo(f"{result['name']}: {'ok' + lacks if result['ok'] else result['error']}")
    if as_json:
        console.print_json({"version": 1, "command": "weights verify", "weights": results})
    elif not results:
        console.note("There are no embedded weights and none in the Hub cache.")
    if not all(result["ok"] for result in results):
        raise typer.Exit(ExitCode.SOME_FILES_FAILED)


def _entry(found: Found, *, with_config: bool = False) -> dict[str, Any]:
    """What the commands say about weights; does not read the tensors."""
    from damgan_cli.weights.format import CARD_FILE, CONFIG_FILE, TENSOR_FILE, read_config
    from damgan_cli.weights.hub import cached_refs

    config = read_config(found.folder, found.name)
    files = [found.folder / file for file in (CONFIG_FILE, TENSOR_FILE, CARD_FILE)]
    entry: dict[str, Any] = {
        "name": found.name,
        "source": found.source,
        "revision": found.revision,
        "refs": cached_refs(found.folder) if found.source == "hub" else [],
        "path": str(found.folder),
        "bytes": sum(file.stat().st_size for file in files if file.is_file()),
        "license": config.get("license"),
    }
    return {**entry, "config": config} if with_config else entry
