# Completion of vmactl's command line for bash. Needs no other package; bash-completion loads it on demand.
#
# Which commands and options there are, and what they take, is read from "vmactl COMMAND --help". Run as a program, it
# says what may stand at the cursor to the completions for other shells, _vmactl and vmactl.fish: see
# _vmactl_print_offers.
#
# shellcheck shell=bash

# Runs vmactl with these arguments. It must not hang, ask or complain, whatever the daemon does.
_vmactl_run() {
    timeout 2 "$program" "$@" </dev/null 2>/dev/null
}

# Takes over what the help of a command says: adds to the `options` of the caller what each takes ("" if nothing) and
# to its `purposes` what commands and options do, and replaces its `subcommands`, `operands`, `repeats` (the last
# operand, if there may be several) and `help`.
_vmactl_read_help() {
    local line part='' name takes names=()
    local is_heading='^([[:alpha:]]+):$'
    local is_word='^  ([[:alpha:]][[:alnum:]-]*)( \.\.\.)? '
    local is_option='^ {2,12}(-[[:alnum:]])?,? *(--[[:alnum:]-]+)?( ([^ ]+))? '
    local is_purpose='^  .*  ([^ ].*)$'
    subcommands=() operands=() repeats=''
    help=$(_vmactl_run "$@" --help)
    while IFS= read -r line; do
        if [[ $line =~ $is_heading ]]; then
            part=${BASH_REMATCH[1],,}
        elif [[ -z $line ]]; then
            part=''
        elif [[ $part == commands && $line =~ $is_word ]]; then
            subcommands+=("${BASH_REMATCH[1]}")
            names=("${BASH_REMATCH[1]}") purposes[${BASH_REMATCH[1]}]=''
        elif [[ $part == operands && $line =~ $is_word ]]; then
            operands+=("${BASH_REMATCH[1]}")
            [[ -z ${BASH_REMATCH[2]} ]] || repeats=${BASH_REMATCH[1]}
        elif [[ $part == options && "$line " =~ $is_option && -n ${BASH_REMATCH[1]}${BASH_REMATCH[2]} ]]; then
            takes=${BASH_REMATCH[4]} names=()
            for name in "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"; do
                [[ -n $name ]] || continue
                options[$name]=$takes names+=("$name") purposes[$name]=''
            done
        fi
        # It may begin on the next line, and go on there.
        if [[ $part == @(commands|options) && $line =~ $is_purpose ]]; then
            for name in "${names[@]}"; do
                purposes[$name]+=${purposes[$name]:+ }${BASH_REMATCH[1]}
            done
        fi
    done <<<"$help"
}

# Sets `REPLY` to what the shell would make of a word, but for $, ` and globs.
_vmactl_unquote() {
    local text=$1 quote='' char
    REPLY=''
    # shellcheck disable=SC2088  # the tilde that somebody typed
    if [[ $text == '~' || $text == '~/'* ]]; then
        REPLY=$HOME text=${text:1}
    fi
    while [[ -n $text ]]; do
        char=${text:0:1} text=${text:1}
        if [[ $char == "$quote" ]]; then
            quote=''
        elif [[ -z $quote && ($char == \' || $char == \") ]]; then
            quote=$char
        elif [[ $char == \\ && $quote != \' && (-z $quote || ${text:0:1} == [\"\\\$\`]) ]]; then
            REPLY+=${text:0:1} text=${text:1}
        else
            REPLY+=$char
        fi
    done
}

# Takes the line apart into `words`, of which number `current` is the one before the cursor. Unlike COMP_WORDS
# they are not cut at "=" and ":"; what bash has cut off the current one is `cut_off`.
_vmactl_split_line() {
    local i word glue before=' ' line=$COMP_LINE position=0
    words=() current=0 cut_off=''
    for ((i = 0; i < ${#COMP_WORDS[@]}; ++i)); do
        word=${COMP_WORDS[i]}
        glue=${line%%[![:space:]]*}
        line=${line:${#glue}}
        ((position += ${#glue}))
        [[ ${line:0:${#word}} == "$word" ]] || word=${line%%[[:space:]]*}
        line=${line:${#word}}
        ((i != COMP_CWORD || position > COMP_POINT)) || word=${word:0:COMP_POINT-position}
        ((position += ${#COMP_WORDS[i]}))
        if [[ $i -gt 0 && -z $glue && ($word == [:=]* || $before == *[:=]) ]]; then
            ((i != COMP_CWORD)) || cut_off=${words[-1]}
            words[-1]+=$word
        else
            words+=("$word")
        fi
        if ((i == COMP_CWORD)); then
            current=$((${#words[@]} - 1))
            # Behind a separator bash completes an empty word.
            [[ $word != [:=]* ]] || cut_off=${words[-1]}
        fi
        before=$word
    done
}

# Offers these words, as far as they begin with what was typed.
_vmactl_offer() {
    local candidate
    for candidate; do
        [[ $candidate != "$typed"* ]] || COMPREPLY+=("$candidate")
    done
}

# Offers directories, and the files that match one of the patterns.
_vmactl_offer_paths() {
    local found
    if [[ -n $other_shell ]]; then
        patterns=("$@") offers_paths=1
        return
    fi
    compopt -o filenames 2>/dev/null
    # A shell of its own: options of this one must not change what a pattern means.
    mapfile -d '' -t found < <(
        shopt -u failglob dotglob nocaseglob nocasematch
        shopt -s nullglob
        set +f
        for path in "$typed"*; do
            if [[ -d $path ]]; then
                printf '%s\0' "$path"
                continue
            fi
            for pattern; do
                # shellcheck disable=SC2053  # it is a pattern
                [[ ${path##*/} != $pattern ]] || { printf '%s\0' "$path" && break; }
            done
        done
    )
    COMPREPLY+=("${found[@]}")
}

_vmactl_offer_archives() {
    _vmactl_offer_paths '*.vma' '*.vma.zst' '*.vma.gz' '*.vma.lzo'
}

# Offers the ids of jobs; the arguments are those of "vmactl list".
_vmactl_offer_jobs() {
    local line id ids=()
    [[ $typed != *[!0-9]* ]] || return
    while IFS= read -r line; do
        # Within a text the quotes would have backslashes.
        [[ $line =~ \"id\":([0-9]+) ]] || continue
        id=${BASH_REMATCH[1]}
        ids+=("$id")
        [[ ! $line =~ \"path\":\"([^\"\\]*)\" ]] || purposes[$id]=${BASH_REMATCH[1]##*/}
        [[ ! $line =~ \"state\":\"([a-z]+)\" ]] || purposes[$id]="${BASH_REMATCH[1]}: ${purposes[$id]-}"
    done < <(_vmactl_run "${connection[@]}" --json list "$@")
    _vmactl_offer "${ids[@]}"
}

# Offers the VMIDs of the guests that have jobs.
_vmactl_offer_guests() {
    local line
    local -A guests=()
    while IFS= read -r line; do
        [[ ! $line =~ \"vmid\":([0-9]+) ]] || guests[${BASH_REMATCH[1]}]=1
    done < <(_vmactl_run "${connection[@]}" --json list --all)
    _vmactl_offer "${!guests[@]}"
}

# Offers the disks of the archive that the line names.
_vmactl_offer_devices() {
    local line names=() is_name='"name":"([[:alnum:]._-]+)"(.*)$'
    [[ -n $archive && $archive != - ]] || return
    line=$(_vmactl_run --json info -- "$archive")
    [[ $line == *'"devices":['* ]] || return
    line=${line#*'"devices":['}
    while [[ $line =~ $is_name ]]; do
        names+=("${BASH_REMATCH[1]}")
        line=${BASH_REMATCH[2]}
    done
    _vmactl_offer "${names[@]}"
}

# Offers the configs of the archive that the line names.
_vmactl_offer_configs() {
    local names
    [[ -n $archive && $archive != - ]] || return
    mapfile -t names < <(_vmactl_run config -- "$archive")
    _vmactl_offer "${names[@]}"
}

# Offers files behind the "=" of NAME=FILE, or of NAME=FORMAT:FILE.
_vmactl_offer_named_files() {
    [[ $typed == *=* ]] || return
    before+=${typed%%=*}= typed=${typed#*=}
    if [[ $typed =~ ^(raw|qcow2?|qed|vmdk|vdi|vhdx|vpc): ]]; then
        before+=${BASH_REMATCH[0]} typed=${typed#*:}
    fi
    _vmactl_offer_paths '*'
}

# Offers the volumes in the archive that the line names, alone or with a path in it.
_vmactl_offer_volumes() {
    local line names=() is_name='"volume":"([[:alnum:]/._+-]+)"'
    [[ -n $archive ]] || return
    while IFS= read -r line; do
        [[ ! $line =~ $is_name ]] || names+=("${BASH_REMATCH[1]}")
    done < <(_vmactl_run --json ls -- "${archive%%:/*}")
    _vmactl_offer "${names[@]}"
}

# Offers the storages of Proxmox VE that hold files.
_vmactl_offer_storages() {
    local line file=${VMAD_ROOT-}/etc/pve/storage.cfg names=(local)
    local is_storage='^(dir|btrfs|nfs|cifs|cephfs|glusterfs):[[:space:]]*([[:alnum:]._-]+)[[:space:]]*$'
    [[ -r $file ]] || return
    while IFS= read -r line; do
        [[ ! $line =~ $is_storage || ${BASH_REMATCH[2]} == local ]] || names+=("${BASH_REMATCH[2]}")
    done 2>/dev/null <"$file"
    _vmactl_offer "${names[@]}" "$@"
}

# Offers where archives are mounted, or else directories.
_vmactl_offer_mounts() {
    local target type names=()
    while read -r _ target type _; do
        # shellcheck disable=SC2059  # a space is \040 there
        [[ $type != fuse.vmad ]] || names+=("$(printf "${target//%/%%}")")
    done 2>/dev/null </proc/self/mounts
    _vmactl_offer "${names[@]}"
    if ((${#COMPREPLY[@]} == 0)); then
        _vmactl_offer_paths
    elif [[ -z $other_shell ]]; then
        compopt -o filenames 2>/dev/null
    fi
}

# Offers what a help text calls by this name.
_vmactl_offer_values() {
    local text
    case "$1 ${commands[*]}" in
    'STATE '*)
        # "States: queued, running, ….", over several lines
        text=${help//$'\n'/ }
        if [[ $text =~ States:\ ([a-z,\ ]+)\. ]]; then
            # shellcheck disable=SC2086  # words
            _vmactl_offer ${BASH_REMATCH[1]//,/}
        fi
        ;;
    'JOB '*)
        case ${commands[*]} in
        wait) _vmactl_offer_jobs ;;
        cancel)
            _vmactl_offer_jobs
            _vmactl_offer_jobs --state failed
            ;;
        *) _vmactl_offer_jobs --all ;;
        esac
        _vmactl_offer_archives
        ;;
    'ID '*) _vmactl_offer_storages ;;
    'ID|all '*) _vmactl_offer_storages all ;;
    'TIME '*) _vmactl_offer 1d 7d 30d ;;
    'DURATION wait') _vmactl_offer 15min 1h 4h ;;
    '[DURATION] status') _vmactl_offer 1s 5s 30s ;;
    'VMID '*) _vmactl_offer_guests ;;
    'FORMAT create') _vmactl_offer raw zstd gzip lzo ;;
    'WHEN repack') _vmactl_offer auto always off ;;
    'NAME=FILE '* | 'NAME=IMAGE '*) _vmactl_offer_named_files ;;
    'OUT '* | 'NEW '*) _vmactl_offer_archives ;;
    'NAME config') _vmactl_offer_configs ;;
    'COMMAND help') _vmactl_offer "${all_commands[@]}" ;;
    'NAME extract') _vmactl_offer_devices ;;
    'ARCHIVE mount' | 'DIR mount')
        # With --all: storages, or directories, and one to mount at.
        if [[ " ${words[*]} " == *' --all '* ]]; then
            _vmactl_offer_storages
            _vmactl_offer_paths
        elif [[ $1 == DIR ]]; then
            _vmactl_offer_paths
        else
            _vmactl_offer_archives
        fi
        ;;
    'FILE cp') _vmactl_offer_archives && _vmactl_offer_paths ;;
    'NAME ls' | 'NAME cp') _vmactl_offer_volumes ;;
    'DIR scan' | 'DIR share' | 'FILE verify' | 'FILE repack') _vmactl_offer_archives ;;
    'ARCHIVE '* | 'OTHER repair' | 'OLDER diff' | 'NEWER diff') _vmactl_offer_archives ;;
    'DIR umount') _vmactl_offer_mounts ;;
    'DIR '*) _vmactl_offer_paths ;;
    'FILE '* | 'PATH '*) _vmactl_offer_paths '*' ;;
    esac
}

# Offers what may stand at the cursor, in word number `current` of the `words` of the caller, which are as the program
# would get them. Sets `before`, what stands in that word before what is offered, and `typed`, the rest of it.
_vmactl_complete() {
    local help subcommands=() operands=() commands=() all_commands=() repeats=''
    local -A options=()
    local connection=() archive='' # of the daemon; the first operand
    local i name names word wanted='' is_over='' operand=0 expected=''
    before='' typed=''
    _vmactl_read_help
    all_commands=("${subcommands[@]}")

    # What is expected at the cursor? The words behind it count, too: the archive may be among them.
    for ((i = 1; i < ${#words[@]}; ++i)); do
        word=${words[i]}
        if ((i == current)); then typed=$word; fi
        if [[ -n $wanted ]]; then
            # The value of the option before.
            if ((i == current)); then
                expected=${options[$wanted]}
            elif [[ $wanted == --socket ]]; then
                connection=(--socket "$word")
            fi
            wanted=''
        elif [[ -z $is_over && $word == --*=* ]]; then
            name=${word%%=*}
            if ((i == current)); then
                expected=${options[$name]-} before=$name= typed=${word#*=}
            elif [[ $name == --socket ]]; then
                connection=("$word")
            fi
        elif [[ -z $is_over && $word == -* && ($word != - || $i -eq current) ]]; then
            if ((i == current)); then
                expected=options
            elif [[ $word == -- ]]; then
                is_over=1
            elif [[ ${options[$word]-} == [[:upper:]]* ]]; then
                wanted=$word
            fi
        elif ((${#subcommands[@]} > 0)); then
            if ((i == current)); then
                expected=subcommands
                break
            fi
            commands+=("$word")
            _vmactl_read_help "${commands[@]}"
        else
            if ((i == current)); then
                expected=${operands[operand]-$repeats}
            elif ((operand == 0)); then
                archive=$word
            fi
            ((++operand))
        fi
    done

    case $expected in
    options)
        mapfile -t names < <(printf '%s\n' "${!options[@]}" | LC_ALL=C sort)
        _vmactl_offer "${names[@]}"
        ;;
    subcommands) _vmactl_offer "${subcommands[@]}" ;;
    *) _vmactl_offer_values "$expected" ;;
    esac
}

# What bash calls.
_vmactl() {
    local IFS=$' \t\n'
    local program current cut_off words=() before typed other_shell='' REPLY i word
    local -A purposes=()
    COMPREPLY=()
    _vmactl_unquote "$1"
    program=$REPLY
    _vmactl_split_line
    for i in "${!words[@]}"; do
        _vmactl_unquote "${words[i]}"
        words[i]=$REPLY
    done
    _vmactl_complete
    # Bash wants no more than what comes behind the last "=" or ":".
    _vmactl_unquote "$cut_off"
    for i in "${!COMPREPLY[@]}"; do
        word=$before${COMPREPLY[i]}
        COMPREPLY[i]=${word#"$REPLY"}
    done
}

# For other shells: $1 is the number of the word before the cursor, from 0, and the words of the line follow, without
# quotes. Prints, with a tab between parts: a line with what stands in that word before what is offered; "WORD", a word
# and its description for each; and last, if paths are wanted, "PATHS" and the patterns of files beside directories.
_vmactl_print_offers() {
    local current=$1 words=("${@:2}") before typed other_shell=1 patterns=() offers_paths='' i
    local program=${2-vmactl}
    local -A purposes=()
    COMPREPLY=()
    # shellcheck disable=SC2088  # the tilde that somebody typed
    for i in "${!words[@]}"; do
        [[ ${words[i]} != '~/'* ]] || words[i]=$HOME${words[i]:1}
    done
    _vmactl_complete
    printf '%s\n' "$before"
    for i in "${COMPREPLY[@]}"; do
        [[ $i == *[$'\t\n']* ]] || printf 'WORD\t%s\t%s\n' "$i" "${purposes[$i]-}"
    done
    [[ -z $offers_paths ]] || { printf 'PATHS' && printf '\t%s' "${patterns[@]}" && echo; }
}

if (return 0 2>/dev/null); then complete -F _vmactl vmactl; else _vmactl_print_offers "$@"; fi
