# Functions for the scripts of both package formats. cargo xtask package puts this text at the head of each.

# The setting that allows io_uring to the service, where the distribution forbids it.
SYSCTL_FILE=/etc/sysctl.d/99-wardgate-io-uring.conf
KERNEL=/proc/sys/kernel

# A running system, and not the tree of an image or container: its kernel is the one that wardgate will use.
is_booted() {
    [ -d /run/systemd/system ]
}

create_user() {
    systemd-sysusers wardgate.conf
    # Only the two folders of this package: tmpfiles.d of other packages is not our concern.
    systemd-tmpfiles --create wardgate.conf
}

# kernel.io_uring_disabled: 0 allows io_uring to all, 1 to root and to the group kernel.io_uring_group, and 2 turns
# it off for everyone, also for that group. So 2 becomes 1 with the group of the service. What was there is noted
# in the file, so that it can be restored.
allow_io_uring() {
    is_booted && [ -r "$KERNEL/io_uring_disabled" ] || return 0
    disabled=$(cat "$KERNEL/io_uring_disabled")
    group=$(cat "$KERNEL/io_uring_group")
    own=$(getent group wardgate | cut -d: -f3)
    [ "$disabled" != 0 ] && [ -n "$own" ] || return 0
    if [ "$disabled" = 1 ] && [ "$group" = "$own" ]; then
        return 0
    fi
    if [ "$disabled" = 1 ] && [ "$group" != -1 ]; then
        echo "wardgate: this system allows io_uring to the group $group only (kernel.io_uring_group). Make the user" >&2
        echo "wardgate its member (usermod -a -G $group wardgate), or the gateway will not start." >&2
        return 0
    fi
    cat >"$SYSCTL_FILE" <<END
# Written by the package wardgate: io_uring for members of the group wardgate and for root, and for nobody else.
# Before: disabled=$disabled group=$group
kernel.io_uring_disabled = 1
kernel.io_uring_group = $own
END
    echo "wardgate: this system forbids io_uring (kernel.io_uring_disabled is $disabled; 2 means off for everyone)."
    echo "The gateway needs it: $SYSCTL_FILE allows it to the group wardgate."
    if ! { echo "$own" >"$KERNEL/io_uring_group" && echo 1 >"$KERNEL/io_uring_disabled"; } 2>/dev/null; then
        echo "wardgate: the setting cannot be changed now; it takes effect at the next boot." >&2
    fi
}

# Restores what allow_io_uring changed, unless somebody has changed it since.
restore_io_uring() {
    [ -f "$SYSCTL_FILE" ] || return 0
    disabled=$(sed -n 's/^# Before: disabled=\([0-9]*\) .*/\1/p' "$SYSCTL_FILE")
    group=$(sed -n 's/^# Before: .* group=\(-*[0-9]*\)$/\1/p' "$SYSCTL_FILE")
    own=$(sed -n 's/^kernel.io_uring_group = //p' "$SYSCTL_FILE")
    rm -f "$SYSCTL_FILE"
    is_booted && [ -n "$disabled" ] && [ -n "$group" ] || return 0
    if [ "$(cat "$KERNEL/io_uring_group" 2>/dev/null)" = "$own" ]; then
        echo "$group" 2>/dev/null >"$KERNEL/io_uring_group" || true
        echo "$disabled" 2>/dev/null >"$KERNEL/io_uring_disabled" || true
    fi
}

# Restores what `wardgate tune apply` changed: without the program nothing could.
undo_tuning() {
    [ -e /var/lib/wardgate-tune/tune.json ] || return 0
    wardgate tune undo || echo "wardgate: some settings of this host were not restored; see above." >&2
}

# Kernels before 6.1 lack what the gateway needs; distributions backport features, so this is a hint and no verdict.
explain_kernel() {
    is_booted || return 0
    release=$(uname -r)
    major=${release%%.*}
    minor=${release#*.}
    minor=${minor%%[!0-9]*}
    if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 1 ]; }; then
        echo "wardgate: this kernel is $release, and wardgate needs Linux 6.1 or later; it will probably not start." >&2
        echo "Ubuntu 22.04: apt install linux-generic-hwe-22.04, then boot that kernel." >&2
    fi
}

# Only the program can restore them, so this is said while it is there.
mention_tuning() {
    if [ -f /var/lib/wardgate-tune/tune.json ]; then
        echo "wardgate: the host settings of \"wardgate tune apply\" stay. To restore them, install wardgate again," >&2
        echo "wardgate: run \"wardgate tune undo\", and remove it." >&2
    fi
}

print_next_commands() {
    cat <<'END'
wardgate is installed. It is not started: it has no route yet. Next:
  editor /etc/wardgate/wardgate.toml          (see "Two sites, step by step" in /usr/share/doc/wardgate/html)
  runuser -u wardgate -- wardgate check
  systemctl enable --now wardgate
END
}

# After an upgrade: a running service is restarted, which gives open connections the time `drain`. With a
# configuration that the new version does not accept, the old program keeps running.
restart_if_running() {
    systemctl --quiet is-active wardgate.service || return 0
    # The credentials of the running service, which its user may read.
    credentials=/run/credentials/wardgate.service
    if ! said=$(CREDENTIALS_DIRECTORY=$credentials runuser -u wardgate -- wardgate check 2>&1); then
        echo "$said" >&2
        echo "wardgate: the service was not restarted and runs the old version, because the new one reports the" >&2
        echo "wardgate: problems above. Correct them, then: systemctl restart wardgate" >&2
        return 0
    fi
    case $said in
    *"would not start on this machine"*)
        echo "$said" >&2
        echo "wardgate: the service was not restarted and runs the old version. Then: systemctl restart wardgate" >&2
        return 0
        ;;
    esac
    echo "wardgate: restarting; open connections have the time \`drain\` to end, and new ones are refused until then."
    "$@" || echo "wardgate: the restart failed; see: systemctl status wardgate" >&2
}
