#compdef cellctl
# zsh completion of cellctl(1), made from its parser
local -a names choices
names=(
    'serve:run every role in the foreground until Ctrl-C'
    'doctor:tell what this host can and cannot confine, and what is wrong with the installation'
    'config:show or check the configuration'
    'status:show the units, the pool and whether an evaluation comes out right'
    'top:watch kernels, roles and recent deaths'
    'admin:show kernels, limits and recent deaths on a page in a browser, with a button that drains'
    'logs:show what the roles say'
    'healthcheck:evaluate something; when that fails, tell which part is to blame'
    'bench:measure how much this appliance does, and what ends it'
    'drain:start no new cells; those that run go on'
    'undrain:start new cells again'
    'restart:restart roles one after the other, without losing a kernel or a request'
    'backup:keep permalinks and configuration in a file'
    'restore:put the permalinks of a backup back'
    'support-bundle:collect what is needed to find out why something fails'
    'completion:print shell completion'
    'permalinks:look after the permalink database'
    'env:list, add, remove and verify environments\: what kernels run'
    'stats:tell from the request log what was used'
    'results:look at the results that are kept of authors cells, or remove them'
    'tls:show, install or make the certificate that visitors see'
    'private-network:join appliances and the database that they share by an encrypted network'
)
if (( CURRENT == 2 )); then
  _describe command names
else
  case $words[2] in
    serve) choices=(-h --help --config --listen --unsafe) ;;
    doctor) choices=(-h --help --config --json) ;;
    config) choices=(-h --help --config --defaults --check check) ;;
    status) choices=(-h --help --config --json) ;;
    top) choices=(-h --help --config --seconds --once) ;;
    admin) choices=(-h --help --config --listen) ;;
    logs) choices=(-h --help -f --follow -n --lines --since) ;;
    healthcheck) choices=(-h --help --config --restart) ;;
    bench) choices=(-h --help --config --seconds --json --keep-limits --no-permalinks) ;;
    drain) choices=(-h --help --config --wait) ;;
    undrain) choices=(-h --help --config) ;;
    restart) choices=(-h --help --config --hard) ;;
    backup) choices=(-h --help --config) ;;
    restore) choices=(-h --help --config --with-configuration) ;;
    support-bundle) choices=(-h --help --config) ;;
    completion) choices=(-h --help bash zsh) ;;
    permalinks) choices=(-h --help stats get import export backup restore check recover migrate takedown) ;;
    env) choices=(-h --help list add remove verify) ;;
    stats) choices=(-h --help --config --days --html --json) ;;
    results) choices=(-h --help stats clear) ;;
    tls) choices=(-h --help status install self-signed off) ;;
    private-network) choices=(-h --help init join status) ;;
  esac
  compadd -a choices
  _files
fi
