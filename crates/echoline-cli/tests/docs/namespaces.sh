# Prepares the namespaces: a network that has only the loopback address, and system folders that a
# page may write to. Then executes the rest of the command line.
set -e
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir /run/changed /run/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/changed,workdir=/run/work /etc
mount -t tmpfs tmpfs /var/lib
exec "$@"
