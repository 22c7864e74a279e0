//! The queueing discipline that the kernel has given to a network card.
//!
//! The kernel attaches that of `net.core.default_qdisc` when a card is brought up, and marks it with the handle `0:`.
//! Only such a card is changed: the kernel is made to attach the discipline again, so the card is afterwards as it would
//! be after a start of the host with this default, and the same act with the previous default restores it exactly. One
//! that an administrator or another program has set has a handle of its own, and options that could not be restored.

use crate::host::{Host, NoValue};

/// What the kernel attaches. A network namespace of its own does not show it.
pub(crate) const DEFAULT: &str = "proc/sys/net/core/default_qdisc";

/// The kind of the discipline of all queues of a card.
pub(crate) fn read(host: &Host, card: &str) -> Result<String, NoValue> {
    kind(&host.run("tc", &["qdisc", "show", "dev", card])?)
}

fn kind(shown: &str) -> Result<String, NoValue> {
    let mut kinds: Vec<&str> = Vec::new();
    for line in shown.lines() {
        let mut words = line.split_whitespace();
        let (Some("qdisc"), Some(kind), Some(handle)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        match (kind, handle) {
            // These queue nothing, and stay.
            ("ingress" | "clsact", _) => {}
            // Holds one discipline for each transmit queue.
            ("mq", "0:") => {}
            (kind, "0:") if kinds.contains(&kind) => {}
            (kind, "0:") => kinds.push(kind),
            (kind, _) => {
                return Err(NoValue(format!(
                    "an administrator or another program has set {kind}, which could not be restored exactly"
                )));
            }
        }
    }
    match kinds.as_slice() {
        ["noqueue"] | [] => Err(NoValue("the interface has no queue of its own".to_owned())),
        [kind] => Ok((*kind).to_owned()),
        _ => Err(NoValue("its queues have different disciplines".to_owned())),
    }
}

/// Makes the kernel attach a discipline of this kind, as it does when the card is brought up.
pub(crate) fn write(host: &Host, card: &str, kind: &str) -> Result<(), NoValue> {
    let present = host.read(DEFAULT)?;
    let differs = present != kind;
    if differs {
        host.write(DEFAULT, kind)?;
    }
    let attached = attach(host, card);
    if differs {
        host.write(DEFAULT, &present)?;
    }
    attached
}

/// Removing a discipline makes the kernel attach the default one. It removes none that it has attached itself.
fn attach(host: &Host, card: &str) -> Result<(), NoValue> {
    host.run("tc", &["qdisc", "replace", "dev", card, "root", "pfifo"])?;
    let remove = || host.run("tc", &["qdisc", "del", "dev", card, "root"]);
    // The card must not keep what was only a step on the way.
    remove().or_else(|_| remove()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_discipline_of_the_kernel_is_read_whatever_the_number_of_queues() {
        for shown in [
            "qdisc fq_codel 0: root refcnt 2 limit 10240p flows 1024\n",
            "qdisc mq 0: root \nqdisc fq_codel 0: parent :2 limit 10240p\nqdisc fq_codel 0: parent :1 limit 10240p\n",
            "qdisc fq_codel 0: root refcnt 2\nqdisc clsact ffff: parent ffff:fff1 \n",
        ] {
            assert_eq!(kind(shown), Ok("fq_codel".to_owned()), "{shown}");
        }
    }

    #[test]
    fn a_discipline_that_could_not_be_restored_has_no_value() {
        for shown in [
            "qdisc htb 1: root refcnt 2 r2q 10 default 0x10\nqdisc fq_codel 8002: parent 1:10 limit 10240p\n",
            "qdisc mq 8001: root \nqdisc fq 0: parent 8001:1 limit 10000p\n",
            "qdisc mq 0: root \nqdisc fq 8003: parent :2 limit 5p\nqdisc fq 0: parent :1 limit 10000p\n",
            "qdisc mq 0: root \nqdisc fq 0: parent :2\nqdisc fq_codel 0: parent :1\n",
            "qdisc noqueue 0: root refcnt 2 \n",
            "",
        ] {
            assert!(kind(shown).is_err(), "{shown}");
        }
    }
}
