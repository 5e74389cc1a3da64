# bash completion for xsigma: verbs, their options and values, and behind the options of run, doctor
# and tune the completion of the program itself.
# shellcheck shell=bash

_xsigma_words() { # WORDS: those that begin with the current one
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_xsigma() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} i
    local shared='--preset --set --lib --help'
    COMPREPLY=()
    # bash takes "=" for a word of its own: --preset=m, --set CPU_BACKEND=m.
    if [ "$COMP_CWORD" -ge 3 ]; then
        [ "$cur" = = ] && cur='' i=$COMP_CWORD
        [ "$prev" = = ] && i=$((COMP_CWORD - 1))
        [ -n "${i-}" ] && prev=${COMP_WORDS[i - 1]}
        if [ -n "${i-}" ] && [[ ${COMP_WORDS[*]:i-3:2} =~ (^|\ )--set(\ =)?$ ]]; then
            _xsigma_words "$("${COMP_WORDS[0]}" vars "$prev" 2>/dev/null | sed -n '/^XSIGMA_'"${prev#XSIGMA_}"'=/{
                n; s/^ *\([^ ]*|[^ ]*\).*/\1/; t out; d; :out; s/[^|]*:|*//g; s/|/ /g; p; }')" "$cur"
            return
        fi
    fi
    if [ "$COMP_CWORD" -eq 1 ]; then
        _xsigma_words 'run doctor vars report diff top tune gpu help --help --version' "$cur"
        return
    fi
    case $prev in
        --preset)
            _xsigma_words 'monte-carlo pde risk' "$cur"
            return
            ;;
        --kind)
            _xsigma_words 'peak live total' "$cur"
            return
            ;;
        --objective)
            _xsigma_words 'time rss gpu-peak' "$cur"
            return
            ;;
        --set | --candidate)
            _xsigma_words "$("${COMP_WORDS[0]}" vars 2>/dev/null |
                sed -n 's/^XSIGMA_\([A-Z0-9_]*\)=.*/\1=/p')" "$cur"
            compopt -o nospace 2>/dev/null
            return
            ;;
        --json | --html | --pprof | --lib | --save)
            case $verb:$prev in
                report:--json | diff:--json) ;;
                *)
                    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                    return
                    ;;
            esac
            ;;
        --check | --seed | --timeout | --sample | --device | -n | -d) return ;;
    esac
    case $verb in
        run | doctor | tune)
            # The program is the first word that is neither an option nor the value of one.
            for ((i = 2; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                    --)
                        i=$((i + 1))
                        break
                        ;;
                    --preset | --set | --lib | --json | --html | --sample | --objective | --check | --candidate | --save | --timeout | --seed | -n)
                        # bash takes "=" for a word of its own.
                        i=$((i + 1))
                        [ "${COMP_WORDS[i + 1]-}" = = ] && i=$((i + 2))
                        ;;
                    -*) ;;
                    *) break ;;
                esac
            done
            if [ "$i" -lt "$COMP_CWORD" ] && declare -F _command_offset >/dev/null; then
                _command_offset "$i"
            elif [[ $cur == -* && $i -ge $COMP_CWORD ]]; then
                case $verb in
                    run) _xsigma_words "$shared --json --html --children --sample" "$cur" ;;
                    doctor) _xsigma_words "$shared" "$cur" ;;
                    tune) _xsigma_words "$shared -n --objective --check --candidate --save --timeout --seed" "$cur" ;;
                esac
            else
                mapfile -t COMPREPLY < <(compgen -c -f -- "$cur")
            fi
            ;;
        top)
            case $cur in
                -*) _xsigma_words '-n -d --help' "$cur" ;;
                *) _xsigma_words "$("${COMP_WORDS[0]}" report 2>/dev/null | awk '/  running, / { print $1 }')" "$cur" ;;
            esac
            ;;
        report | diff)
            case $verb:$cur in
                report:-*) _xsigma_words '--json --collapsed --kind --html --pprof --help' "$cur" ;;
                diff:-*) _xsigma_words '--json --help' "$cur" ;;
                *) mapfile -t COMPREPLY < <(
                    compgen -f -- "$cur"
                    compgen -W "$("${COMP_WORDS[0]}" report 2>/dev/null | awk '{ print $1 }')" -- "$cur"
                ) ;;
            esac
            ;;
        vars) _xsigma_words '--markdown --help' "$cur" ;;
        gpu)
            if [ "$COMP_CWORD" -eq 2 ]; then
                _xsigma_words 'stats clear limit defragment --device --help' "$cur"
            else
                _xsigma_words "--device $("${COMP_WORDS[0]}" gpu 2>/dev/null | awk '{ print $1 }')" "$cur"
            fi
            ;;
        help) _xsigma_words 'run doctor vars report diff top tune gpu help' "$cur" ;;
    esac
}

complete -o filenames -o bashdefault -F _xsigma xsigma
