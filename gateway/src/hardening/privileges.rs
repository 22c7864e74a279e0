//! The user of the process and its capabilities.

use std::fs;
use std::path::Path;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{Resource, geteuid, getrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::needs::Needs;
use super::part::PartState;
use crate::config::access::UserIds;
use crate::config::{Gateway, SandboxSetting};

/// Becomes another user if root has started the process, and keeps only the capabilities that a reload needs.
///
/// Only the calling thread changes, so no other may exist yet.
pub(super) fn drop(gateway: &Gateway, needs: &Needs) -> PartState {
    let kept = needs.capabilities() | for_rings();
    let wanted = gateway.run_as.user();
    if !geteuid().is_root() {
        let text = format!("uid {}, {}", geteuid().as_raw(), in_words(kept));
        return match keep(kept) {
            Ok(()) => PartState::On(text),
            Err(error) => PartState::Missing(format!("capabilities cannot be given up: {error}")),
        };
    }
    let Some(name) = wanted else {
        return match keep(kept) {
            Ok(()) => PartState::Off(format!(
                "run_as = \"root\": root is kept, {}",
                in_words(kept)
            )),
            Err(error) => PartState::Missing(format!("capabilities cannot be given up: {error}")),
        };
    };
    let Some(account) = Account::read(Path::new("/"), name) else {
        let given_up = match keep(kept) {
            Ok(()) => format!("root is kept, {}", in_words(kept)),
            Err(error) => format!("root is kept, and its capabilities cannot be given up: {error}"),
        };
        return PartState::Missing(format!(
            "root has started this process, and there is no user {name:?} in /etc/passwd; {given_up}; make the user \
             (`useradd --system {name}`), or name another one in run_as"
        ));
    };
    match account.become_it(kept) {
        Ok(()) => PartState::On(format!(
            "user {name}, uid {}, {}",
            account.user,
            in_words(kept)
        )),
        Err(error) => {
            // A call that failed early has left root all of its capabilities.
            let given_up = match keep(kept).and_then(|()| set_keep_capabilities(false)) {
                Ok(()) => in_words(kept),
                Err(error) => format!("its capabilities cannot be given up: {error}"),
            };
            PartState::Missing(format!(
                "this process cannot become {name:?}: {error}; {given_up}"
            ))
        }
    }
}

/// Why a gateway with this configuration that root starts stays root, and what to do; `None` if it becomes another user.
pub(crate) fn stays_root(gateway: &Gateway) -> Option<String> {
    let Some(name) = gateway.run_as.user() else {
        return Some("name a user other than root in run_as".to_owned());
    };
    if gateway.sandbox == SandboxSetting::Off {
        return Some(format!(
            "with sandbox = \"off\" it does not become the user {name:?} (run_as); write sandbox = \"try\""
        ));
    }
    match Account::read(Path::new("/"), name) {
        Some(_) => None,
        None => Some(format!(
            "there is no user {name:?}, which it would become (run_as); make this user (`useradd --system \
             {name}`), or name another one in run_as"
        )),
    }
}

/// The user and the group that a gateway with this configuration becomes; `None` if root has not started it, or if it
/// stays root.
pub(crate) fn becomes(gateway: &Gateway) -> Option<(u32, u32)> {
    if !geteuid().is_root() || gateway.sandbox == SandboxSetting::Off {
        return None;
    }
    let account = Account::read(Path::new("/"), gateway.run_as.user()?)?;
    Some((account.user, account.group))
}

// Rings count as locked memory, of all processes of a user together. With this capability they do not count.
fn for_rings() -> CapabilitySet {
    match getrlimit(Resource::Memlock).current {
        Some(_) => CapabilitySet::IPC_LOCK,
        None => CapabilitySet::empty(),
    }
}

/// Makes sure that no program that this process starts gets more rights than the process has.
pub(super) fn no_new() -> PartState {
    match set_no_new_privs(true) {
        Ok(()) => PartState::On(String::new()),
        Err(error) => PartState::Missing(error.to_string()),
    }
}

/// A user of this machine, as the files of /etc describe it.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    user: u32,
    group: u32,
    groups: Vec<u32>,
}

impl Account {
    fn read(root: &Path, name: &str) -> Option<Self> {
        let UserIds { user, group } = UserIds::read(root, name)?;
        let groups = fs::read_to_string(root.join("etc/group")).unwrap_or_default();
        // name:password:gid:member,member
        let of_line = |line: &str| {
            let mut fields = line.split(':').skip(2);
            let number = fields.next()?.parse().ok()?;
            let mut members = fields.next()?.split(',');
            members.any(|member| member == name).then_some(number)
        };
        Some(Self {
            user,
            group,
            groups: groups.lines().filter_map(of_line).collect(),
        })
    }

    fn become_it(&self, kept: CapabilitySet) -> Result<(), Errno> {
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        let groups = self.groups.iter().map(|number| Gid::from_raw(*number));
        let groups: Vec<_> = groups.collect();
        set_keep_capabilities(true)?;
        set_thread_groups(&groups)?;
        set_thread_res_gid(group, group, group)?;
        bound(kept)?;
        set_thread_res_uid(user, user, user)?;
        keep(kept)?;
        set_keep_capabilities(false)
    }
}

// Leaves the thread at most these capabilities.
fn keep(kept: CapabilitySet) -> Result<(), Errno> {
    bound(kept)?;
    clear_ambient_capability_set()?;
    let now = capabilities(None)?;
    let kept = now.permitted & kept;
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}

// Leaves programs that this process would start at most these capabilities. Needs a capability itself, so only root's
// processes can.
fn bound(kept: CapabilitySet) -> Result<(), Errno> {
    let now = capabilities(None)?;
    if !now.effective.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for capability in (CapabilitySet::all() - kept).iter() {
        match remove_capability_from_bounding_set(capability) {
            // A newer kernel has more of them, an older one fewer.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn in_words(kept: CapabilitySet) -> String {
    let names = [
        (
            CapabilitySet::IPC_LOCK,
            "CAP_IPC_LOCK for rings, because memory that is locked is limited",
        ),
        (
            CapabilitySet::NET_BIND_SERVICE,
            "CAP_NET_BIND_SERVICE for ports below 1024",
        ),
        (
            CapabilitySet::NET_ADMIN,
            "CAP_NET_ADMIN for source = \"transparent\"",
        ),
        (
            CapabilitySet::NET_RAW,
            "CAP_NET_RAW for source = \"transparent\"",
        ),
    ];
    let named = names.into_iter().filter(|(one, _)| kept.contains(*one));
    let named: Vec<_> = named.map(|(_, name)| name).collect();
    match named.is_empty() {
        true => "no capability".to_owned(),
        false => format!("at most {}", named.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_its_groups_and_others_are_not_found() {
        let root = tempfile::tempdir().expect("there is room");
        let etc = root.path().join("etc");
        fs::create_dir(&etc).expect("our folder");
        let users = "root:x:0:0::/root:/bin/sh\nwardgate-x:x:7:7::/:\nwardgate:x:998:997::/:/x\n";
        fs::write(etc.join("passwd"), users).expect("our folder");
        let groups = "wardgate:x:997:\nssl-cert:x:110:postgres,wardgate\nadm:x:4:wardgate-x\n";
        fs::write(etc.join("group"), groups).expect("our folder");
        let expected = Account {
            user: 998,
            group: 997,
            groups: vec![110],
        };
        assert_eq!(Account::read(root.path(), "wardgate"), Some(expected));
        assert_eq!(Account::read(root.path(), "gate"), None);
    }

    #[test]
    fn kept_capabilities_are_named_with_their_reason() {
        assert_eq!(in_words(CapabilitySet::empty()), "no capability");
        let text = in_words(CapabilitySet::NET_BIND_SERVICE | CapabilitySet::NET_RAW);
        assert!(
            text.contains("CAP_NET_BIND_SERVICE for ports below 1024 and CAP_NET_RAW"),
            "{text}"
        );
    }
}
