# First process of an instance. Runs in mount, PID, network, UTS and IPC namespaces that were made for it, lays out the instance, says
# "ready", and lives as long as its standard input: when the lab dies in any way, the pipe closes, this process ends, and the kernel
# removes everything that lived here.
#
# Arguments: addresses of the upstream side. Variables: CGROUP_PROCS, RESOLV_CONF, UPSTREAM_NAME and the address plan.
set -eu
exec 3<&0 </dev/null

echo 0 > "$CGROUP_PROCS"
mount -t proc proc /proc

# An engine that finds the machine's containerd socket would use it. This /run hides it, and xtables.lock and /run/netns with it.
mount -t tmpfs -o mode=0755 lab-run /run
mkdir -p /run/lock /run/netns /run/cgroup

# The machine's /sys shows the machine's interfaces. A new one shows ours, but lacks the cgroups, without which the engine dies.
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --move /run/cgroup /sys/fs/cgroup
rmdir /run/cgroup

# What is written to a directory made private stays in the instance.
private() {
    mkdir -p "/run/private$1/upper" "/run/private$1/work"
    mount -t overlay -o "lowerdir=$1,upperdir=/run/private$1/upper,workdir=/run/private$1/work" lab-private "$1"
}
# An engine writes its identity to /etc/docker, or takes the machine's; containerd makes /opt/containerd.
private /etc
mkdir -p /etc/docker
mount -t tmpfs -o mode=0755 lab-docker /etc/docker
if [ -d /opt/containerd ]; then private /opt/containerd; elif [ -d /opt ]; then private /opt; fi

# Names are asked of the upstream side, which refuses at once where nobody serves them. The machine's own servers are out of reach.
resolver=$(readlink -m /etc/resolv.conf)
case $resolver in
    /run/*) mkdir -p "${resolver%/*}" && cp "$RESOLV_CONF" "$resolver" ;;
    *) if [ -e "$resolver" ]; then mount --bind "$RESOLV_CONF" "$resolver"; fi ;;
esac

ip netns add "$UPSTREAM_NAME"
setting() { if [ -e "/proc/sys/net/$1" ]; then echo "$2" > "/proc/sys/net/$1"; fi; }

# What a plain Docker host has: its reverse path filter is loose, bridged packets meet iptables, and its uplink keeps taking router
# advertisements although it forwards. IPv4 forwarding is left to the engine, which drops by default only where it switched it on itself.
setting ipv6/conf/all/forwarding 1
setting ipv6/conf/default/forwarding 1
setting ipv4/conf/all/rp_filter 0
setting ipv4/conf/default/rp_filter 2
setting bridge/bridge-nf-call-iptables 1
setting bridge/bridge-nf-call-ip6tables 1
# Nobody else is here to own an address twice; detection would hold a new bridge's gateway back for two seconds.
setting ipv6/conf/default/accept_dad 0

ip -batch - <<PLAN
link set lo up
link add $UPLINK type veth peer name $DOWNLINK netns $UPSTREAM_NAME
addr add $HOST_V4/24 dev $UPLINK
addr add $FORWARDED_V4/24 dev $UPLINK
addr add $HOST_V6/64 dev $UPLINK nodad
addr add $FORWARDED_V6/64 dev $UPLINK nodad preferred_lft 0
link set $UPLINK up
PLAN
setting "ipv6/conf/$UPLINK/accept_ra" 2

# The way back to containers: IPv6 is not masqueraded everywhere, and IPv4 no more once somebody has flushed the rules.
{
    echo "link set lo up"
    echo "addr add $UPSTREAM_V4/24 dev $DOWNLINK"
    echo "addr add $UPSTREAM_V6/64 dev $DOWNLINK nodad"
    echo "link set $DOWNLINK up"
    for network in 172.16.0.0/12 192.168.0.0/16 10.0.0.0/8; do echo "route add $network via $HOST_V4"; done
    echo "route add fd00::/8 via $HOST_V6"
    for address; do
        case $address in
            *:*) echo "addr add $address/128 dev lo nodad" ;;
            *) echo "addr add $address/32 dev lo" ;;
        esac
    done
} | ip -n "$UPSTREAM_NAME" -batch -

for address; do
    case $address in
        *:*) echo "route add $address/128 via $UPSTREAM_V6 src $HOST_V6" ;;
        *) echo "route add $address/32 via $UPSTREAM_V4 src $HOST_V4" ;;
    esac
done | ip -batch -

# Before Docker's masquerade, which would make containers look like the host.
nft -f - <<RULES
table inet lab {
    chain source {
        type nat hook postrouting priority srcnat - 10; policy accept;
        oifname "$UPLINK" fib saddr type != local meta nfproto ipv4 snat ip to $FORWARDED_V4
        oifname "$UPLINK" fib saddr type != local meta nfproto ipv6 snat ip6 to $FORWARDED_V6
    }
}
RULES

echo ready
# This shell stays the first process, since a first process has to reap the orphans, and cat would not.
cat <&3 >/dev/null &
exec 3<&- >/dev/null 2>&1
wait $!
