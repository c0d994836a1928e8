# Completion of vmactl's command line for fish. What may stand at the cursor is said by the completion for bash, which
# every Debian system has; so it is the same in both.

# The files and directories that begin like this, as fish spells them, as far as they match one of the patterns.
function __vmactl_paths --argument-names typed
    # A command that has no completion of its own.
    for path in (complete -C "__vmactl_paths_of $typed")
        set -l name (string split --right --max 1 / -- (string split \t -- $path)[1])[-1]
        if test -z "$name"
            echo $path
            continue
        end
        for pattern in $argv[2..]
            if string match --quiet -- $pattern $name
                echo $path
                break
            end
        end
    end
end

function __vmactl_offers
    set -l engine /usr/share/bash-completion/completions/vmactl
    set -l before_cursor (commandline -opc)
    set -l position (count $before_cursor)
    set -l token (commandline -ct)
    set -l typed (string unescape -- $token; or string trim --left --chars "'\"" -- $token)
    # An empty word is not among those of the whole line.
    set -l behind (math $position + 1 + (test -n "$token"; and echo 1; or echo 0))
    set -l words (commandline -op)
    set -l offers (bash $engine $position $before_cursor "$typed" $words[$behind..] </dev/null 2>/dev/null)
    set -l prefix $offers[1]
    for offer in $offers[2..]
        set -l parts (string split \t -- $offer)
        switch $parts[1]
            case WORD
                printf '%s\t%s\n' $prefix$parts[2] "$parts[3]"
            case PATHS
                set -l rest (string sub --start (math (string length -- "$prefix") + 1) -- $token)
                for path in (__vmactl_paths "$rest" $parts[2..])
                    echo -- $prefix$path
                end
        end
    end
end

complete --command vmactl --no-files --keep-order --arguments '(__vmactl_offers)'
