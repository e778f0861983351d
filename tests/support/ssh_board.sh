#!/bin/sh
# Makes a "board" out of this machine: `unshare --mount --propagation private sh ssh_board.sh BASE USERS`.
# All that a deployment writes goes to memory; whatever is not covered by an overlay is read-only in here.
# Says "ready" and lives until its input ends; sshd is started into its mount namespace.
set -eu
base=$1
shift
fail() { echo "ssh_board.sh: $*" >&2; exit 1; }

# In memory: fast, and gone with the namespace. Where this machine's own disk is an overlay, layers could not lie on it.
layers=$base/layers
mkdir -p "$layers"
mount -t tmpfs -o size=4g,mode=755 tmpfs "$layers" || fail "cannot mount a tmpfs; this needs root"
mkdir -p "$layers/upper/var/tmp" "$layers/work" "$layers/tmp"
chmod 1777 "$layers/tmp" "$layers/upper/var/tmp"
# Its own: whatever this machine keeps there comes and goes.
mount --bind "$layers/upper/var/tmp" /var/tmp
for place in etc opt home root var/lib; do
    mkdir -p "$layers/upper/$place" "$layers/work/$place"
    options="lowerdir=/$place,upperdir=$layers/upper/$place,workdir=$layers/work/$place"
    mount -t overlay overlay -o "$options" "/$place" || fail "cannot cover /$place"
done

mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/upper
mount --bind "$layers/upper" /run/upper
# Programs that this machine keeps in /root must be readable for the board's other users.
chmod 755 /root
for user in "$@"; do
    [ "$user" = root ] || id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/sh "$user"
    # Without PAM, sshd takes the password "!" of a new account for a lock.
    [ "$user" = root ] || usermod --password '*' "$user"
done
mkdir -p /etc/edgewright-test
cp "$base"/server/* /etc/edgewright-test/
chmod 755 /etc/edgewright-test
chmod 600 /etc/edgewright-test/host_key*
chmod 644 /etc/edgewright-test/authorized_keys
if [ -d /etc/sudoers.d ]; then
    echo 'board ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/board
    chmod 440 /etc/sudoers.d/board
fi
# A checkout that lies in /tmp stays to be seen there, for its environment runs commands on the board.
case "${CHECKOUT:-}" in
    /tmp/*)
        mkdir -p "$layers$CHECKOUT"
        mount --bind "$CHECKOUT" "$layers$CHECKOUT"
        mount -o remount,bind,ro "$layers$CHECKOUT"
        ;;
esac
mount --rbind "$layers/tmp" /tmp
mount -o remount,bind,ro /
echo ready
cat > /dev/null
