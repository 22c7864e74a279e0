//! The key `return`: the route by which associations of the other site arrive.

use super::draft::Draft;
use super::problem::Problems;
use super::suggest;
use super::{Located, Mode, Protocol};

/// Reports a `return` whose route cannot carry the associations back.
pub(super) fn check(drafts: &[Draft<'_>], problems: &mut Problems) {
    // If the key is not available on the route, this is reported already.
    let is_fit = |draft: &&Draft<'_>| {
        draft
            .protocol
            .is_none_or(|protocol| protocol == Protocol::Dicom)
            && draft.mode != Some(Mode::Passthrough)
    };
    for draft in drafts.iter().filter(is_fit) {
        let Some(name) = draft.written.returns.value() else {
            continue;
        };
        if let Err(reason) = check_return(draft, name, drafts) {
            problems.accept::<()>(&draft.written.scope, "return", name, Err(reason));
        }
    }
}

fn check_return(
    draft: &Draft<'_>,
    name: &Located<String>,
    drafts: &[Draft<'_>],
) -> Result<(), String> {
    let named = |draft: &&Draft<'_>| name_of(draft) == Some(name.value.as_str());
    if named(&draft) {
        return Err(
            "is this route itself; name the route by which the other site's associations arrive"
                .to_owned(),
        );
    }
    let Some(back) = drafts.iter().find(named) else {
        return Err(unknown(name, draft, drafts));
    };
    if back
        .protocol
        .is_some_and(|protocol| protocol != Protocol::Dicom)
    {
        return Err(
            "is not a dicom route; name the route by which associations come back".to_owned(),
        );
    }
    let (Some(own), Some(other)) = (draft.mode, back.mode) else {
        return Ok(());
    };
    let opposite = match own {
        Mode::Originate => Mode::Terminate,
        Mode::Terminate | Mode::Passthrough => Mode::Originate,
    };
    if other == opposite {
        return Ok(());
    }
    Err(format!(
        "has mode \"{other}\"; name a route with mode \"{opposite}\", because this route has mode \"{own}\""
    ))
}

fn unknown(name: &Located<String>, own: &Draft<'_>, drafts: &[Draft<'_>]) -> String {
    let others = drafts.iter().filter(|draft| !std::ptr::eq(*draft, own));
    let known = others.filter_map(name_of);
    match suggest::nearest(&name.value, known) {
        Some(near) => format!("is not a route; did you mean {near:?}?"),
        None => "is not a route; write the name of one in this file, or remove it".to_owned(),
    }
}

fn name_of<'d>(draft: &'d Draft<'_>) -> Option<&'d str> {
    let name = draft.written.name.value()?;
    Some(&name.value)
}
