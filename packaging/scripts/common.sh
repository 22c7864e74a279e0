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

# Only the program can restore them, so this is printed while it is there.
mention_tuning() {
    if [ -f /var/lib/wardgate-tune/tune.json ]; then
        echo "wardgate: the host settings of \"wardgate tune apply\" stay. To restore them, install wardgate again," >&2
        echo "wardgate: run \"wardgate tune undo\", and remove it." >&2
    fi
}

print_next_commands() {
    cat <<'END'
wardgate is installed. It is not started: it has no route yet. Next:
  wardgate setup     (asks three questions, and writes the configuration and this site's certificate)
  wardgate pair      (makes this site and the other one known to each other, and starts the service)
  wardgate status    (shows whether data passes)
END
}

property() {
    systemctl show --value -p "$1" wardgate.service
}

# Prints lines, also to the journal as lines about the service: `systemctl status wardgate` shows them below its state.
report() {
    echo "$1" >&2
    echo "$1" | while read -r line; do
        printf 'MESSAGE=%s\nPRIORITY=3\nSYSLOG_IDENTIFIER=wardgate\nOBJECT_SYSTEMD_UNIT=wardgate.service\n' "$line" |
            logger --journald || true
    done
}

# The command line of the unit, also with the drop-ins of this machine:
# `{ path=/usr/bin/wardgate ; argv[]=/usr/bin/wardgate run --config FILE ; ignore_errors=no ; ... }`.
command_line() {
    property ExecStart | sed -n 's/.* argv\[\]=\([^;]*\) ;.*/\1/p'
}

# Whether the installed program would start as the service: with the configuration that its command line names, its
# user, its privilege and its limit of descriptors. Prints the reasons if not.
would_start() {
    line=$(command_line)
    options=${line#/usr/bin/wardgate run}
    if [ "$options" = "$line" ]; then
        echo "the unit starts \"$line\", and only \"/usr/bin/wardgate run\" can be checked"
        return 1
    fi
    # The limit is "infinity" if there is none.
    ulimit -n "$(property LimitNOFILE)" 2>/dev/null || true
    # The options are words, not patterns of file names. The credentials are those of the running service.
    set -f
    CREDENTIALS_DIRECTORY=/run/credentials/wardgate.service \
        setpriv --reuid="$(property User)" --regid="$(property Group)" --init-groups \
        --inh-caps=+net_bind_service --ambient-caps=+net_bind_service /usr/bin/wardgate check --start $options 2>&1
}

# The configuration file of a command line: `/usr/bin/wardgate run --config FILE --take-over SOCKET`.
configuration_of() {
    file=${1%% --take-over *}
    file=${file#*wardgate run}
    file=${file##* }
    file=${file#--config=}
    echo "${file:-/etc/wardgate/wardgate.toml}"
}

# Whether the running service can hand over to the installed program: its main process answers on an admin socket,
# which the earliest versions do not have, and reads the configuration that the unit names now. The socket is the one
# that the configuration names, or that of the service's folder. Sets reach_by and reach to the option that leads to it.
can_hand_over() {
    pid=$(property MainPID)
    config=$(configuration_of "$(command_line)")
    [ "$(configuration_of "$(xargs -0 <"/proc/$pid/cmdline")")" = "$config" ] || return 1
    reach_by=--config reach=$config
    has_process "$pid" && return 0
    reach_by=--socket reach=/run/wardgate/admin.sock
    has_process "$pid"
}

# Whether the gateway at the admin socket is process $1.
has_process() {
    wardgate status --json "$reach_by" "$reach" 2>/dev/null | grep -q "\"pid\":$1[,}]"
}

# After an upgrade. A running service hands over to the new program, or is restarted if it cannot, which gives open
# connections the time `drain`. If the new program would not start, the old one keeps running. A service that is
# enabled and has failed is started, because the new version may have what it lacked. $1 is the program that starts and
# restarts services.
after_upgrade() {
    if systemctl --quiet is-active wardgate.service; then
        if ! found=$(would_start); then
            report "$found"
            report "wardgate: the service was not restarted and runs the old version, because of the problems above. Correct them, then: systemctl restart wardgate"
            return 0
        fi
        echo "$found"
        if can_hand_over; then
            if found=$(wardgate upgrade "$reach_by" "$reach" 2>&1); then
                echo "$found"
                echo "wardgate: the new version runs; open connections stay with the old one, for the time \`drain\` at most."
            else
                report "$found"
                report "wardgate: the service runs the old version, because of the problem above. To restart it: systemctl restart wardgate"
            fi
            return 0
        fi
        echo "wardgate: restarting; open connections have the time \`drain\` to end, and new ones are not served until then."
        "$1" try-restart wardgate.service ||
            echo "wardgate: the restart failed; see: systemctl status wardgate" >&2
    elif systemctl --quiet is-failed wardgate.service; then
        if systemctl --quiet is-enabled wardgate.service; then
            echo "wardgate: the service had failed; starting the new version."
            "$1" start wardgate.service ||
                echo "wardgate: the start failed; see: systemctl status wardgate" >&2
        else
            echo "wardgate: the service had failed. To start the new version: systemctl start wardgate"
        fi
    fi
}
