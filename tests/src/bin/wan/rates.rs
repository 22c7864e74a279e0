//! C-STORE of DCMTK through the gateways, compared with the same programs over the same line without gateways.
//!
//! One object is outstanding at a time, as by default: `storescu` waits for each response. Its log gives the time of each
//! response, so an object's time does not contain the start of the programs and of the association. Both ways take
//! turns, so that a machine that is busy for a while delays both.
//!
//! DCMTK of Debian leaves Nagle's algorithm on, and writes each PDU in two pieces: together with delayed acknowledgements
//! that costs 40 ms for each of an object's two directions, on any network. `TCP_NODELAY=1` in its environment
//! switches that off, and is the harder comparison: nothing but the line and the gateways takes time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use wardgate_tests::dicom::series;
use wardgate_tests::{Background, Program};

use crate::Scale;
use crate::path::{Network, Place};
use crate::sites::{Route, Sites};

/// A server that listens on the WAN, for associations without gateways.
const DIRECT: u16 = 11204;
/// The longest time in which all servers start.
const SERVERS_START_MAX: Duration = Duration::from_secs(60);
/// The longest time of an association, on a machine that is busy.
const STORE_MAX: Duration = Duration::from_secs(240);
/// The file of the short dictionary.
const DICTIONARY: &str = "dictionary";
/// The first objects of an association are not measured: congestion windows grow.
const WARM_UP: usize = 4;
/// An object may take so much longer through the gateways: time of the processor, for two more programs without
/// optimization in an emulated machine. One round trip more, or one delayed acknowledgement (40 ms), is longer.
const PROCESSOR: Duration = Duration::from_millis(10);
/// On a busy machine the programs of DCMTK take longer than that, and the gateways so many times as long as they.
const PROCESSOR_TIMES: u32 = 3;

/// One comparison.
struct Case {
    /// The programs have `TCP_NODELAY=1`.
    no_delay: bool,
    /// Delay of the line, there and back.
    round_trip: u32,
    /// Rows and columns of the images, of two bytes each.
    side: u16,
    /// Objects that are measured in each association.
    objects: usize,
    /// Associations each way.
    rounds: usize,
}

const fn case(no_delay: bool, round_trip: u32, side: u16, objects: usize, rounds: usize) -> Case {
    Case {
        no_delay,
        round_trip,
        side,
        objects,
        rounds,
    }
}

const SHORT: &[Case] = &[
    case(true, 20, 64, 24, 3),
    case(true, 80, 64, 10, 2),
    case(false, 20, 256, 6, 2),
];

const FULL: &[Case] = &[
    case(true, 20, 64, 100, 4),
    case(true, 20, 256, 50, 4),
    case(true, 20, 512, 30, 4),
    case(true, 80, 64, 100, 3),
    case(true, 80, 256, 50, 3),
    case(true, 80, 512, 30, 3),
    case(false, 20, 256, 30, 3),
    case(false, 80, 256, 30, 3),
];

/// Each time with the fraction of a second, and nothing else before the text.
const LOG: &str = "log4cplus.rootLogger = INFO, console\n\
    log4cplus.appender.console = log4cplus::ConsoleAppender\n\
    log4cplus.appender.console.logToStdErr = true\n\
    log4cplus.appender.console.ImmediateFlush = true\n\
    log4cplus.appender.console.layout = log4cplus::PatternLayout\n\
    log4cplus.appender.console.layout.ConversionPattern = %D{%s.%q} %m%n\n";

/// All cases of the scale, as a table.
pub(crate) fn compare(network: &Network, scale: Scale) -> String {
    let cases = match scale {
        Scale::Short => SHORT,
        Scale::Full => FULL,
    };
    let folder = TempDir::new().expect("there is room");
    std::fs::write(folder.path().join("log"), LOG).expect("our folder");
    shorten_dictionary(&folder.path().join(DICTIONARY));
    let route = Route::new(network.line(0), Vec::new());
    let routes = vec![route.clone(), route.clone()];
    let sites = Sites::start(network, "dicom", routes);
    let servers = [false, true].map(|no_delay| {
        let target = route.target(0).port();
        [target, DIRECT].map(|port| (no_delay, port))
    });
    let servers = servers.concat().into_iter().map(|(no_delay, port)| {
        // Host names would be asked of a resolver that does not exist here.
        let program = Program::new("storescp").args(["--fork", "-dhl", "--ignore"]);
        let port = port + u16::from(no_delay);
        let program = program.arg(port.to_string()).current_dir(folder.path());
        let program = environment(program, &folder, no_delay).netns(network.name(Place::B));
        (Background::start(&program), port)
    });
    let servers: Vec<_> = servers.collect();
    wardgate_tests::until("all servers listen", SERVERS_START_MAX, || {
        let listens = |(server, port): &(Background, u16)| server.process().sees_listener(*port);
        servers.iter().all(listens).then_some(())
    });
    println!(
        "| line | object | `TCP_NODELAY` | through the gateways: median, mean | without: median, mean | rate, relative: median, \
         mean |\n|---|---|---|---|---|---|"
    );
    for case in cases {
        case.run(network, &route, &folder);
    }
    for gateway in sites.gateways().iter() {
        // Not a way around the gateways.
        let associations = cases.iter().map(|case| case.rounds).sum();
        gateway.wait_for_connections(associations);
    }
    format!("{} comparisons", cases.len())
}

impl Case {
    /// Prints its line, and fails if the gateways cost more than time of the processor.
    fn run(&self, network: &Network, route: &Route<'_>, folder: &TempDir) {
        route
            .line
            .netem(&format!("delay {}us limit 10000", 500 * self.round_trip));
        let count = u32::try_from(WARM_UP + self.objects).expect("few");
        let images = folder.path().join(format!("{}", self.side));
        std::fs::create_dir_all(&images).expect("our folder");
        let files = series(&images, "WARDGATE", count, self.side);
        let [mut through, mut direct] = [Vec::new(), Vec::new()];
        for _ in 0..self.rounds {
            let number = u16::from(self.no_delay);
            let server = SocketAddr::from((route.line.address(Place::B), DIRECT + number));
            through.extend(self.store(network, folder, route.entry(number), &files));
            direct.extend(self.store(network, folder, server, &files));
        }
        for times in [&through, &direct] {
            assert_eq!(
                times.len(),
                self.objects * self.rounds,
                "each object was measured"
            );
        }
        let [through, direct] = [through, direct].map(Times::new);
        let floor = Duration::from_millis(self.round_trip.into());
        assert!(
            direct.median >= floor,
            "the line delays: {:?}",
            direct.median
        );
        let ratio =
            |direct: Duration, through: Duration| direct.as_secs_f64() / through.as_secs_f64();
        let (median, mean) = (
            ratio(direct.median, through.median),
            ratio(direct.mean, through.mean),
        );
        println!(
            "| {} ms | {} KB | {} | {:.1?}, {:.1?} | {:.1?}, {:.1?} | {median:.2}, {mean:.2} |",
            self.round_trip,
            u32::from(self.side) * u32::from(self.side) * 2 / 1000,
            u8::from(self.no_delay),
            through.median,
            through.mean,
            direct.median,
            direct.mean,
        );
        let processor = PROCESSOR.max(PROCESSOR_TIMES * direct.median.saturating_sub(floor));
        assert!(
            through.median <= direct.median + processor,
            "an object takes {:?} through the gateways, but {:?} without them",
            through.median,
            direct.median
        );
    }

    /// Sends the files in one association; returns the time of each object after the warm-up.
    fn store(
        &self,
        network: &Network,
        folder: &TempDir,
        to: SocketAddr,
        files: &[PathBuf],
    ) -> Vec<Duration> {
        let program = Program::new("storescu").arg("--log-config");
        let program = environment(program, folder, self.no_delay).arg(folder.path().join("log"));
        let program = program.args([to.ip().to_string(), to.port().to_string()]);
        let program = program.args(files).netns(network.name(Place::A));
        let outcome = program.deadline(STORE_MAX).run();
        let text = outcome.expect_success().text();
        let responses = text.lines().filter_map(|line| {
            let (time, message) = line.split_once(' ')?;
            let seconds: f64 = time.parse().ok()?;
            (message == "Received Store Response (Success)")
                .then(|| Duration::from_secs_f64(seconds))
        });
        let responses: Vec<_> = responses.collect();
        assert_eq!(
            responses.len(),
            files.len(),
            "each object is stored:\n{text}"
        );
        let measured = responses.windows(2).skip(WARM_UP - 1);
        measured
            .map(|pair| pair[1].saturating_sub(pair[0]))
            .collect()
    }
}

fn environment(program: Program, folder: &TempDir, no_delay: bool) -> Program {
    program
        .env("DCMDICTPATH", folder.path().join(DICTIONARY))
        .env("TCP_NODELAY", if no_delay { "1" } else { "0" })
}

/// Writes DCMTK's dictionary without the groups that no program here uses. To read all of it takes a second of an
/// emulated machine, for each start of a program.
fn shorten_dictionary(to: &Path) {
    let shared = std::fs::read_dir("/usr/share")
        .expect("Debian has it")
        .flatten();
    let dictionaries = shared.map(|folder| folder.path().join("dicom.dic"));
    let dictionary = dictionaries
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .next();
    let dictionary = dictionary.expect("storescp was found, so its dictionary is there");
    let is_used = |line: &&str| {
        let groups = [
            "(0000,", "(0002,", "(0008,", "(0010,", "(0020,", "(0028,", "(7fe0,",
        ];
        groups
            .iter()
            .any(|group| line.to_lowercase().starts_with(group))
    };
    let lines: Vec<_> = dictionary.lines().filter(is_used).collect();
    std::fs::write(to, lines.join("\n") + "\n").expect("our folder");
}

/// Times of objects.
struct Times {
    median: Duration,
    mean: Duration,
}

impl Times {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let count = u32::try_from(times.len()).expect("few");
        Self {
            median: times[times.len() / 2],
            mean: times.iter().sum::<Duration>() / count,
        }
    }
}
