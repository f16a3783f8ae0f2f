"""The completion scripts of shells.

They differ from those of click in what a shell does with a word: no blank follows a folder, so that the next key
completes what is in it; bash quotes blanks, and completes behind a colon, where it starts another word; fish shows
help that has a comma.
"""

import os

from click.shell_completion import (
    BashComplete,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' line=${COMP_LINE:0:COMP_POINT} word before="" completion
    word=${line##*[[:space:]]}
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        before=${word%%"${word##*:}"}
    fi
    COMPREPLY=()
    for completion in $(RUNNER_LINE="$line" %(complete_var)s=bash_complete "$1"); do
        completion=${completion#*,}
        COMPREPLY+=("${completion#"$before"}")
    done
    compopt -o filenames 2>/dev/null
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a response plain folders described
    local type key help
    (( ! $+commands[%(prog_name)s] )) && return 1
    response=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \\
        %(complete_var)s=zsh_complete %(prog_name)s)}")
    for type key help in ${response}; do
        if [[ "$key" == */ ]]; then
            folders+=("$key")
        elif [[ "$help" == "_" ]]; then
            plain+=("$key")
        else
            described+=("${key//:/\\\\:}:$help")
        fi
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#plain )) && compadd -U -V unsorted -a plain
    (( $#folders )) && compadd -U -S '' -V unsorted -a folders
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = """\
function %(complete_func)s
    set -lx COMP_WORDS (commandline -cp)
    set -lx COMP_CWORD (commandline -t)
    set -lx %(complete_var)s fish_complete
    for completion in (%(prog_name)s)
        string replace -r '^[^,]*,' '' -- $completion
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


class _Bash(BashComplete):
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and the beginning of the one at it."""
        line = os.environ["RUNNER_LINE"]
        words = split_arg_string(line)[1:]
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words, incomplete


class _Zsh(ZshComplete):
    source_template = _ZSH


class _Fish(FishComplete):
    source_template = _FISH


SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}
"""The shells by name."""


def register_shells() -> None:
    """Let click use these scripts, and their words, in place of its own."""
    for name, kind in SHELLS.items():
        add_completion_class(kind, name)
