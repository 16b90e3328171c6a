# bash completion of cellctl(1), made from its parser
_cellctl() {
  local current=${COMP_WORDS[COMP_CWORD]} words
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W 'serve doctor config status top admin logs healthcheck bench drain undrain restart backup restore support-bundle completion permalinks env stats results tls private-network --help --version' -- "$current")
    return
  fi
  case ${COMP_WORDS[1]} in
    serve) words='-h --help --config --listen --unsafe' ;;
    doctor) words='-h --help --config --json' ;;
    config) words='-h --help --config --defaults --check check' ;;
    status) words='-h --help --config --json' ;;
    top) words='-h --help --config --seconds --once' ;;
    admin) words='-h --help --config --listen' ;;
    logs) words='-h --help -f --follow -n --lines --since' ;;
    healthcheck) words='-h --help --config --restart' ;;
    bench) words='-h --help --config --seconds --json --keep-limits --no-permalinks' ;;
    drain) words='-h --help --config --wait' ;;
    undrain) words='-h --help --config' ;;
    restart) words='-h --help --config --hard' ;;
    backup) words='-h --help --config' ;;
    restore) words='-h --help --config --with-configuration' ;;
    support-bundle) words='-h --help --config' ;;
    completion) words='-h --help bash zsh' ;;
    permalinks) words='-h --help stats get import export backup restore check recover migrate takedown' ;;
    env) words='-h --help list add remove verify' ;;
    stats) words='-h --help --config --days --html --json' ;;
    results) words='-h --help stats clear' ;;
    tls) words='-h --help status install self-signed off' ;;
    private-network) words='-h --help init join status' ;;
    *) words='' ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  if [ ${#COMPREPLY[@]} -eq 0 ]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F _cellctl cellctl
