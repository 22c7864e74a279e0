#!/bin/bash
# run.sh [WARDGATE]: the packaged director (IPVS) in front of two gateways, in user-mode Linux, because few build machines
# have IPVS in their kernel. Prints what becomes of clients at a drain, a killed gateway and a dead machine. It takes about
# a minute and a half, and needs root and the Debian packages user-mode-linux, kmod, keepalived, dcmtk and python3.
#
#        clients and director          machines             other site
#   lan (bridge) --- director 10.20.0.2, 10.20.0.5
#        |---------- gw1 10.20.0.3, 198.51.100.3 ---|
#        '---------- gw2 10.20.0.4, 198.51.100.4 ---'--- 198.51.100.10
set -u
here=$(realpath "$(dirname "$0")")
ha=$(realpath "$here/../../../../packaging/ha")

if [ "${INSIDE:-}" != yes ]; then
    wardgate=$(realpath "${1:-$here/../../../../target/debug/wardgate}")
    folder=$(mktemp -d /tmp/wguml.XXXXXX)
    # The memory of the machine is a file there.
    memory=$(mktemp -d /dev/shm/wguml.XXXXXX)
    trap 'rm -rf "$folder" "$memory"' EXIT
    cat >"$folder/init" <<INIT
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev 2>/dev/null
mkdir -p /dev/shm; mount -t tmpfs t /run; mkdir -p /run/lab /run/netns /run/kernel/lib
ln -s /usr/lib/uml/modules /run/kernel/lib/modules
for module in veth bridge ipv6 ip_vs ip_vs_sh; do modprobe -d /run/kernel \$module; done
ip link set lo up; ulimit -n 65536; export TMPDIR=/run/lab
INSIDE=yes timeout 400 bash "$here/run.sh" "$wardgate" </dev/null 2>&1
echo o >/proc/sysrq-trigger; sleep 10
INIT
    chmod +x "$folder/init"
    TMPDIR=$memory timeout 450 linux.uml root=/dev/root rootfstype=hostfs rootflags=/ ro mem=1024M init="$folder/init" \
        uml_dir="$folder" con=null con0=null,fd:1 quiet loglevel=3 panic=-1
    exit
fi

wardgate=$1
cd /run/lab || exit 1
at() { ip netns exec "$@"; }

port() { # port NAMESPACE BRIDGE-NAMESPACE INTERFACE ADDRESS: the name of the bridge is that of the interface without 0
    ip link add "$3" netns "$1" type veth peer name "$1$3" netns "$2"
    ip -n "$2" link set "$1$3" master "${3%0}" up
    ip -n "$1" address add "$4/24" dev "$3"
    ip -n "$1" link set "$3" up
}
for name in lan director gw1 gw2 other; do
    ip netns add $name
    ip -n $name link set lo up
done
for bridge in "lan lan" "lan mgmt" "other wan"; do
    set -- $bridge
    ip -n "$1" link add "$2" type bridge
    ip -n "$1" link set "$2" up
done
port director lan lan0 10.20.0.2
port director lan mgmt0 10.99.0.2
for number in 1 2; do
    port gw$number lan lan0 10.20.0.$((number + 2))
    port gw$number lan mgmt0 10.99.0.$((number + 2))
    port gw$number other wan0 198.51.100.$((number + 2))
    # As the guide tells.
    at gw$number sysctl -q -p "$ha/90-wardgate-real-server.conf"
    at gw$number ip address add 10.20.0.5/32 dev lo
done
for number in 21 22 23 24 25 26 27 28; do ip -n lan address add 10.20.0.$number/24 dev lan; done
ip -n other address add 198.51.100.10/24 dev wan

site() { # site NAME OTHER METRICS MODE LISTEN TARGET
    printf '[gateway]\nadmin = "%s.sock"\n%s\n[timeouts]\ndrain_delay = "3s"\n' "$1" "$3"
    printf '[identity]\ncertificate = "%s.pem"\nkey = "%s.key"\n' "$1" "$1"
    printf '[[peer]]\nname = "peer"\nidentity = "dns:%s"\ntrust = "ca-%s/ca.pem"\n' "$2" "$2"
    printf '[[route]]\nname = "route"\nmode = "%s"\nprotocol = "dicom"\nlisten = "%s"\n' "$4" "$5"
    printf 'targets = ["%s"]\npeers = ["peer"]\n' "$6"
}
pki() { "$wardgate" pki "$@" >/dev/null; }
run() { at "$1" "$wardgate" run --config "$2.toml" >>"$2.log" 2>&1 & }
pki init --dir ca-hospital --name hospital
pki init --dir ca-region --name region
pki issue --dir ca-region --dns region --out region.pem --key-out region.key
for name in gw1 gw2; do
    pki issue --dir ca-hospital --dns hospital --out $name.pem --key-out $name.key
    site $name region "metrics = \"10.99.0.$((${name#gw} + 2)):9464\"" originate 10.20.0.5:11112 \
        198.51.100.10:2762 >$name.toml
    run $name $name
done
site region hospital "" terminate 198.51.100.10:2762 127.0.0.1:104 >region.toml
at other storescp --fork 104 >/dev/null 2>&1 &
run other region
at director keepalived -n -l -f "$ha/director.conf" -p /run/lab/k.pid -r /run/lab/v.pid -c /run/lab/c.pid >/dev/null 2>&1 &

ready() { at director ipvsadm -L -n | grep -c 'Route   1'; }
wait_ready() { for _ in $(seq 200); do [ "$(ready)" = 2 ] && return; sleep 0.2; done; echo "not ready"; }
wait_ready
until at director ip -brief address | grep -q 10.20.0.5; do sleep 0.2; done
for _ in 1 2; do
    for number in 21 22 23 24 25 26 27 28; do at lan python3 "$here/clients.py" 0 10.20.0.$number; done
done
for name in gw1 gw2; do
    echo "$name: $(grep 'msg=connection ' $name.log | grep -o 'client.address=[0-9.]*' | sort | uniq -c | xargs)"
done

# The clients: the first of each machine.
first() { grep 'msg=connection ' "$1.log" | grep -o 'client.address=10[0-9.]*' | head -n 1 | cut -d= -f2; }
clients="$(first gw1) $(first gw2)"
fault() { # fault SECONDS TITLE COMMAND...: for gw1
    echo "--- $2 (gw1; its client is ${clients% *})"
    at lan python3 "$here/clients.py" "$1" $clients &
    clients_job=$!
    sleep 3
    "${@:3}"
    wait $clients_job
    at director ipvsadm -L -n | grep Route
}
fault 12 "planned drain" "$wardgate" drain --socket gw1.sock
"$wardgate" drain --undo --socket gw1.sock
wait_ready
kill_gateway() { kill -9 $(ip netns pids gw1); }
fault 10 "kill -9 of the gateway" kill_gateway
run gw1 gw1
wait_ready
cut_links() { for link in lan0 mgmt0 wan0; do ip -n gw1 link set $link down; done; }
fault 16 "all links down" cut_links
