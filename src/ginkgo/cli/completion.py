"""``ginkgoctl completion SHELL``: print what makes a shell complete ``ginkgoctl``.

The scripts know nothing themselves: they ask ``ginkgoctl __complete`` (see `candidates`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.errors import UsageError
from .output import Output

if TYPE_CHECKING:
    import argparse

BASH = """\
# To be read by bash, for example from ~/.bashrc: source <(ginkgoctl completion bash)
_ginkgoctl() {
    local IFS=$'\\n'
    COMPREPLY=($(ginkgoctl __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _ginkgoctl ginkgoctl
"""

ZSH = """\
#compdef ginkgoctl
# To be read by zsh, behind compinit in ~/.zshrc: source <(ginkgoctl completion zsh)
_ginkgoctl() {
    local -a lines
    lines=("${(@f)$(ginkgoctl __complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${lines[1]}" ]]; then
        _describe ginkgoctl lines
    else
        _files
    fi
}
compdef _ginkgoctl ginkgoctl
"""

FISH = """\
# To be read by fish: ginkgoctl completion fish > ~/.config/fish/completions/ginkgoctl.fish
function __ginkgoctl_complete
    set -l words (commandline -opc)
    set -e words[1]
    set -l current (commandline -ct)
    ginkgoctl __complete fish $words "$current" 2>/dev/null
end
complete -c ginkgoctl -a '(__ginkgoctl_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def completion(options: argparse.Namespace) -> int:
    """Print the script for a shell."""
    shell: str = options.arguments[0]
    if shell not in SCRIPTS:
        raise UsageError(
            f"there is no completion for {shell!r}", hint=f"one of {', '.join(SCRIPTS)}"
        )
    out = Output(as_json=options.json, quiet=options.quiet)
    script = SCRIPTS[shell]
    content = {"schema": "ginkgo.completion/1", "shell": shell, "script": script}
    out.result(content, script.rstrip("\n"))
    return 0
