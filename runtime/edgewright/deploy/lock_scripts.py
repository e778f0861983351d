"""What is asked of a board about its lock: POSIX shell, for it may have no more than busybox.

The lock is a folder with the signature of whoever has it, ``holder``. Three strokes cannot be shared, and all else rests on
them: a folder is made by one only (``mkdir``), moved aside by one only (``mv``), and signed by one only (``ln`` does not
overwrite). Whoever writes in it has gone into it before, so that nothing lands in another's that took its place.

Where ``/run`` is, ``edgewright-deploy.last`` says there who took it last. It goes with the last of what is installed.

Their words are: the root, the asking one's id, its signature, and what each says.
"""

from __future__ import annotations

__all__ = ["FREE", "HELD", "LOOK", "RESTARTED", "TAKE", "TAKEN", "TOUCH", "UNSIGNED"]

TAKEN, HELD, RESTARTED = "taken", "held", "restarted"
"""What they answer first."""
UNSIGNED = "-"
"""Stands for the id of whoever made a lock and never signed it."""

_PLACE = r"""
umask 022
lock=$1 me=$2 last=
if [ -d "$1/run" ] && [ ! -L "$1/run" ]; then lock=$1/run last=$1/run/edgewright-deploy.last; fi
lock=$lock/edgewright-deploy.lock
boot() { cat /proc/sys/kernel/random/boot_id; }
now() { echo "boot=$(boot)" && echo "touched=$(cut -d. -f1 /proc/uptime)"; }
held() { echo held; echo "place=$lock"; now; echo; cat "$lock/holder" 2>/dev/null; true; }
of() {
    if [ "$1" = - ]; then ! grep -q '^id=[0-9a-f]\{16\}$' "$2/holder" 2>/dev/null
    else grep -qxF "id=$1" "$2/holder" 2>/dev/null; fi
}
written() { { printf %s "$1" && now; } > "$me" || { rm -f "$me"; false; }; }
sign() { (cd "$lock" && written "$1" && { ln "$me" holder; rc=$?; rm -f "$me"; exit $rc; }); }
renew() { (cd "$lock" && of "$me" . && written "$1" && mv -f "$me" holder) 2>/dev/null; }
# One that turns out to be another's, signed since it was looked at, goes back, unless a third one's lies there by now.
away() {
    rm -rf "$lock.$me"
    mv -f "$lock" "$lock.$me" || [ ! -d "$lock" ] || return 1
    of "$1" "$lock.$me" || { mkdir "$lock" && ln "$lock.$me/holder" "$lock/holder"; } 2>/dev/null
    rm -rf "$lock.$me"
}
# Nobody else has had it since the start $1 of the board, or since the board has started anew.
alone() {
    latest=$(cat "$last" 2>/dev/null)
    [ "$latest" = "$me" ] || { [ -z "$latest" ] && [ "$1" != "$(boot)" ]; }
}
"""
LOOK = f'{_PLACE}\nif [ -d "$lock" ]; then held; fi\ntrue\n'
"""Needs no superuser, and no more than the root. Answers ``held`` with the lock, or nothing."""
TAKE = rf"""{_PLACE}
[ -z "$4" ] || [ ! -d "$lock" ] || away "$4" || exit 1
if said=$(mkdir "$lock" 2>&1) && ! said=$(sign "$3" 2>&1); then rmdir "$lock" 2>/dev/null; fi
if ! of "$me" "$lock"; then
    if [ -d "$lock" ]; then held; else echo "$said" >&2; exit 1; fi
elif [ -n "$5" ] && ! alone "$5"; then away "$me"; echo lost
else
    [ -z "$last" ] || echo "$me" > "$last"
    echo taken; now
fi
"""
"""Says whose is passed over, and by whom it is taken again the start of the board in which it was had, both else empty.

Answers ``taken`` with the board's start, or ``held`` with the other's, or ``lost`` where another has worked meanwhile.
"""
# What cannot be written, on a full disk, is still ours: it only looks older to others.
TOUCH = rf"""{_PLACE}
if of "$me" "$lock"; then renew "$3"; fi
if of "$me" "$lock"; then echo ours
elif [ ! -d "$lock" ] && [ "$4" != "$(boot)" ] && alone "$4"; then echo restarted
else echo lost; fi
"""
"""Says the start of the board in which it was had. Answers ``ours``, ``restarted`` or ``lost``."""
FREE = f"""{_PLACE}
if of "$me" "$lock"; then
    [ -z "$last" ] || [ -d "$1/opt/edgewright" ] || rm -f "$last"
    away "$me"
fi
"""
"""Answers nothing."""
