//! The monitoring programs of hospitals with the files of `packaging`: Nagios, the Zabbix agent and net-snmp.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use wardgate_tests::tier::{Need, ready, workspace};
use wardgate_tests::{
    Background, DEADLINE, Gateway, Pki, Program, Site, free_port, until, wardgate,
};

fn gateway() -> Gateway {
    // Nothing listens there, and no client comes.
    let port = || format!("127.0.0.1:{}", free_port());
    Site::new(&Pki::new(), "gw.a.example")
        .originate(port(), port(), &["dns:gw.b.example"])
        .start()
}

/// A file of `packaging` for a gateway of a test.
fn adapted(gateway: &Gateway, file: &str) -> String {
    let text = fs::read_to_string(workspace().join("packaging").join(file)).expect("our file");
    let socket = gateway.folder().join("admin.sock");
    let to = format!(
        "{} status --socket {}",
        wardgate().display(),
        socket.display()
    );
    let adapted = text.replace("/usr/bin/wardgate status", &to);
    assert_ne!(adapted, text);
    adapted
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("the folder is ours");
    path
}

#[test]
fn nagios_reads_the_line_and_the_numbers_of_the_check() {
    if !ready("interop", &[Need::Program("nagios4"), Need::Root]) {
        return;
    }
    let gateway = gateway();
    let folder = gateway.folder();
    let status = folder.join("status.dat");
    let objects = "\
define timeperiod {\n timeperiod_name always\n alias always\n sunday 00:00-24:00\n monday 00:00-24:00\n\
 tuesday 00:00-24:00\n wednesday 00:00-24:00\n thursday 00:00-24:00\n friday 00:00-24:00\n saturday 00:00-24:00\n}\n\
define contact {\n contact_name none\n host_notifications_enabled 0\n service_notifications_enabled 0\n\
 host_notification_period always\n service_notification_period always\n host_notification_options n\n\
 service_notification_options n\n host_notification_commands check_wardgate\n\
 service_notification_commands check_wardgate\n}\n\
define host {\n host_name gw\n address 127.0.0.1\n max_check_attempts 1\n check_period always\n contacts none\n\
 notification_period always\n}\n\
define service {\n host_name gw\n service_description wardgate\n check_command check_wardgate!14!3\n\
 max_check_attempts 1\n check_interval 1\n retry_interval 1\n check_period always\n contacts none\n\
 notification_period always\n}\n";
    let objects = adapted(&gateway, "nagios/wardgate.cfg") + objects;
    let objects = write(folder, "objects.cfg", &objects);
    let at = |name: &str| folder.join(name).display().to_string();
    let main = format!(
        "log_file={}\ncfg_file={}\nstatus_file={}\nstatus_update_interval=1\nnagios_user=root\nnagios_group=root\n\
         lock_file={}\ntemp_file={}\ntemp_path={}\ncheck_result_path={}\nobject_cache_file={}\nstate_retention_file={}\n\
         command_file={}\nquery_socket={}\ninterval_length=1\ncheck_external_commands=0\nservice_inter_check_delay_method=n\n\
         check_for_updates=0\ncheck_workers=1\nillegal_macro_output_chars=`~$&|'\"<>\n",
        at("nagios.log"),
        objects.display(),
        status.display(),
        at("nagios.lock"),
        at("nagios.tmp"),
        folder.display(),
        folder.display(),
        at("objects.cache"),
        at("retention.dat"),
        at("nagios.cmd"),
        at("nagios.qh"),
    );
    let main = write(folder, "nagios.cfg", &main);
    let nagios = Background::start(&Program::new("nagios4").arg(&main));
    let found = until("Nagios has checked the gateway", DEADLINE, || {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let service = text.split("servicestatus {").nth(1)?.to_owned();
        service.contains("has_been_checked=1").then_some(service)
    });
    assert!(found.contains("current_state=0"), "{found}");
    assert!(
        found.contains("plugin_output=WARDGATE OK - routes: 1, open connections: 0"),
        "{found}"
    );
    assert!(found.contains("performance_data=connections=0"), "{found}");
    drop(nagios);
    gateway.stop();
}

#[test]
fn the_zabbix_agent_runs_the_items_of_the_template() {
    if !ready("interop", &[Need::Program("zabbix_agentd")]) {
        return;
    }
    let gateway = gateway();
    let items = adapted(&gateway, "zabbix/wardgate.conf");
    let text = format!("Server=127.0.0.1\nTimeout=10\n{items}");
    let file = write(gateway.folder(), "agent.conf", &text);
    let item = |key: &str| {
        let agent = Program::new("zabbix_agentd").arg("-c").arg(&file);
        agent.args(["-t", key]).run().expect_success().text()
    };
    let check = item("wardgate.check");
    assert!(check.contains("[t|WARDGATE OK - "), "{check}");
    let status = item("wardgate.status");
    let json = status
        .split_once("[t|")
        .and_then(|(_, rest)| rest.rsplit_once(']'));
    let reply: Value = serde_json::from_str(json.expect(&status).0).expect(&status);
    assert_eq!(reply["status"]["open"], Value::Null);
    // Every path of the template leads to a value.
    let template = fs::read_to_string(workspace().join("packaging/zabbix/wardgate.yaml"));
    let template = template.expect("our file");
    let paths = template
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ")?.split_once("$."));
    let mut count = 0;
    for (_, path) in paths {
        let path = path
            .trim_end_matches('\'')
            .replace("[?(@.name == \"{#ROUTE}\")]", "[0]");
        let path = path
            .replace(".first()", "")
            .replace('.', "/")
            .replace("[0]", "/0");
        let pointer = format!("/{path}");
        assert!(reply.pointer(&pointer).is_some(), "{pointer} in {reply:#}");
        count += 1;
    }
    assert_eq!(count, 8);
    for key in ["wardgate.check", "wardgate.status"] {
        assert!(template.contains(&format!("key: {key}\n")), "{key}");
    }
    gateway.stop();
}

#[test]
fn a_poller_of_snmp_reads_the_check_from_net_snmp() {
    if !ready(
        "interop",
        &[Need::Program("snmpd"), Need::Program("snmpget")],
    ) {
        return;
    }
    let gateway = gateway();
    let agent = format!("127.0.0.1:{}", free_port());
    let text = format!(
        "agentAddress udp:{agent}\nrocommunity public 127.0.0.1\n{}",
        adapted(&gateway, "snmp/wardgate.conf")
    );
    let folder = gateway.folder();
    let file = write(folder, "snmpd.conf", &text);
    let snmpd = Program::new("snmpd")
        .args(["-f", "-Lo", "-C", "-c"])
        .arg(&file)
        .arg("-p")
        .arg(folder.join("snmpd.pid"))
        .env("SNMP_PERSISTENT_DIR", folder);
    let snmpd = Background::start(&snmpd);
    // The numbers of the file: a poller has no MIB.
    let get = |oid: &str| {
        let poller = Program::new("snmpget").args(["-v2c", "-c", "public", "-On", "-m", ""]);
        let poller = poller
            .env("SNMP_PERSISTENT_DIR", folder)
            .args(["-t", "2", "-r", "0", &agent, oid]);
        let outcome = poller.deadline(Duration::from_secs(10)).run();
        outcome.succeeded().then(|| outcome.text())
    };
    let oids = text
        .split(['(', ')'])
        .filter(|part| part.starts_with("1.3.6.1.4.1.8072"));
    let oids: Vec<_> = oids.collect();
    assert_eq!(oids.len(), 2, "{text}");
    let line = until("snmpd answers", DEADLINE, || get(oids[0]));
    assert!(
        line.contains("WARDGATE OK - routes: 1, open connections: 0"),
        "{line}"
    );
    let state = get(oids[1]).expect("snmpd answers");
    assert!(state.trim_end().ends_with("INTEGER: 0"), "{state}");
    drop(snmpd);
    gateway.stop();
}
