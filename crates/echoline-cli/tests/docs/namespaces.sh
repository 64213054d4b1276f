# Makes the namespaces ready: a network with nothing but its loopback address, and folders of
# the system to which a page may write. Then becomes the rest of the command line.
set -e
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir /run/changed /run/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/changed,workdir=/run/work /etc
mount -t tmpfs tmpfs /var/lib
exec "$@"
