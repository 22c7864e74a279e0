//! Interrupts of a network card, each known by its card and its name.
//!
//! The kernel gives interrupts other numbers when it starts, or when a driver is loaded again. A number of yesterday
//! may belong to a disk today, so numbers are never recorded.

use crate::host::{Host, NoValue};

/// The interrupts of a card that its driver uses: number and name, in ascending order. Names that occur twice are left
/// out, because they name no single interrupt.
pub(crate) fn of_card(host: &Host, card: &str) -> Vec<(usize, String)> {
    let device = format!("sys/class/net/{card}/device");
    // The interrupts of a virtio card belong to the device above.
    let folders = [
        format!("{device}/msi_irqs"),
        format!("{device}/../msi_irqs"),
    ];
    let numbers = folders.iter().map(|folder| host.numbered(folder, ""));
    let numbers = numbers.into_iter().find(|numbers| !numbers.is_empty());
    let named = numbers
        .unwrap_or_default()
        .into_iter()
        .filter_map(|number| {
            let name = host.read(&format!("sys/kernel/irq/{number}/actions"));
            let name = name.ok().filter(|name| !name.is_empty())?;
            Some((number, name))
        });
    let named: Vec<(usize, String)> = named.collect();
    let is_single = |name: &String| named.iter().filter(|(_, other)| other == name).count() == 1;
    let single = named.iter().filter(|(_, name)| is_single(name));
    single.cloned().collect()
}

/// The name of the device behind a card: `0000:03:00.0`. Another card may have the same name after a change of
/// hardware.
pub(crate) fn device(host: &Host, card: &str) -> Option<String> {
    let path = host.path(&format!("sys/class/net/{card}/device"));
    let device = path.canonicalize().ok()?;
    let name = device.file_name()?.to_str()?;
    Some(name.to_owned())
}

/// The file with the CPUs of an interrupt, which has this number today.
pub(crate) fn file(
    host: &Host,
    card: &str,
    device_then: &str,
    name: &str,
) -> Result<String, NoValue> {
    if device(host, card).as_deref() != Some(device_then) {
        return Err(NoValue(format!(
            "the network card {card} is not the device {device_then}"
        )));
    }
    let found = of_card(host, card);
    let found = found.iter().find(|(_, known)| known == name);
    let (number, _) =
        found.ok_or_else(|| NoValue(format!("the card has no interrupt {name:?} at present")))?;
    Ok(format!("proc/irq/{number}/smp_affinity_list"))
}
