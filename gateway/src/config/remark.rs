//! What an operator should know about a route that is good.

use super::{Dicom, Route};
use crate::dicom::Command;

impl Route {
    /// Sentences about what this route's rules do not do, in full: `route "ct": ...`.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let Some(dicom) = &self.dicom else {
            return Vec::new();
        };
        let remarks = [no_way_back(dicom), retrieval_alone(dicom), told_only(dicom)];
        let remarks = remarks.into_iter().flatten();
        remarks
            .map(|remark| format!("route \"{}\": {remark}", self.name))
            .collect()
    }
}

impl Dicom {
    /// Whether it has rules that `enforce` is about.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.called.is_some()
            || self.calling.is_some()
            || self.commands.is_some()
            || self.associations_max.is_some()
            || self.associations_per_peer.is_some()
            || !self.bound.is_empty()
    }

    fn names(&self, command: Command) -> bool {
        let commands = self.commands.as_ref();
        commands.is_some_and(|commands| commands.contains(&command))
    }
}

/// Who names a command that is answered elsewhere means it to be used.
fn no_way_back(dicom: &Dicom) -> Option<String> {
    let named = [
        (Command::CMove, "the images of a C-MOVE come"),
        (
            Command::NAction,
            "the answer of storage commitment (N-ACTION) comes",
        ),
    ];
    let mut named = named.iter().filter(|(command, _)| dicom.names(*command));
    let (_, what) = named.next().filter(|_| dicom.returns.is_none())?;
    Some(format!(
        "{what} in an association that the other side opens, and no route is named that brings it; \
         write return = \"NAME\", if it is to come through this gateway"
    ))
}

fn retrieval_alone(dicom: &Dicom) -> Option<String> {
    let is_alone = dicom.names(Command::CGet) && !dicom.names(Command::CStore);
    is_alone.then(|| {
        "commands names C-GET and not C-STORE, by which everything comes that a C-GET retrieves; \
         name both"
            .to_owned()
    })
}

fn told_only(dicom: &Dicom) -> Option<String> {
    (!dicom.enforce && dicom.has_rules()).then(|| {
        "rules = \"report\": what they forbid is logged, and passes; remove the line to refuse it"
            .to_owned()
    })
}
