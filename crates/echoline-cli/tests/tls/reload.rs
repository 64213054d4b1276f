//! Tests of certificates that are replaced while the server runs.

use std::fs;
use std::num::NonZero;
use std::time::SystemTime;

use echoline::tls::{Authorities, ClientAuth, Identity, Resumption, TlsClient, TlsError, Trust};
use echoline::transport::Transport;
use echoline::{Eol, Shutdown};
use echoline_load::{LoadSettings, Plan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pairs::{Authority, Kind};
use crate::served::{Handler, Served, config};

const TIMES: usize = 100;

/// Fault 48: a hundred certificate changes under a load of new connections: none of them fails, and
/// an old connection stays open.
#[tokio::test]
async fn a_hundred_reloads_under_load_fail_no_client() {
    let served = Served::plain(Handler::Lines).await;
    let mut old = served.connect(None).await.unwrap();
    let pairs = [0, 1].map(|n| served.authority.sign(&format!("pair-{n}"), Kind::Server));
    let plan = Plan::new(NonZero::new(4).unwrap(), NonZero::new(150), 32, Eol::Lf, 1).unwrap();
    let mut settings = LoadSettings::new(served.address.clone(), plan);
    settings.per_connection = NonZero::new(1);
    let trust = Trust::Authorities(Authorities::load(&served.authority.ca()).unwrap());
    let client = TlsClient::new(&trust, None, Resumption::Off).unwrap();
    settings.targets.transports = vec![Transport::plain().then(client.step("localhost").unwrap())];
    let certificates = served.certificates.clone();
    let stop = Shutdown::new();
    let mut replaced = 0;
    let running = echoline_load::run(&settings, &stop, |_| ());
    let replacing = async {
        for pair in pairs.iter().cycle().take(TIMES) {
            certificates.replace(config(pair, &ClientAuth::Off));
            replaced += 1;
            tokio::task::yield_now().await;
        }
    };
    let (report, ()) = tokio::join!(running, replacing);
    let report = report.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.record.connections, replaced), (600, TIMES));
    assert_eq!(report.record.handshake.count(), 600);
    old.write_all(b"still here\n").await.unwrap();
    old.shutdown().await.unwrap();
    let mut heard = String::new();
    old.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "still here\n");
    served.end().await;
}

/// Fault 48: a pair of files that cannot be used is refused with the name of the file, before
/// anything changes.
#[test]
fn an_unusable_pair_is_refused() {
    let authority = Authority::new();
    let good = authority.sign("good", Kind::Server);
    let other = authority.sign("other", Kind::Server);
    let load = |cert: &std::path::Path, key: &std::path::Path| {
        Identity::load(cert, key, SystemTime::now()).unwrap_err()
    };
    let mismatch = load(&good.cert, &other.key);
    assert!(matches!(mismatch, TlsError::Mismatch { .. }), "{mismatch}");
    for kind in [Kind::Expired, Kind::NotYetValid] {
        let pair = authority.sign("late", kind);
        let error = load(&pair.cert, &pair.key);
        match kind {
            Kind::Expired => assert!(matches!(error, TlsError::Expired { days: 2, .. })),
            _ => assert!(matches!(error, TlsError::NotYetValid { days: 4, .. }), "{error}"),
        }
    }
    let text = fs::read_to_string(&good.cert).unwrap();
    let cut = authority.path("cut.pem");
    for length in [0, 1, 30, text.len() / 2, text.len() - 30] {
        fs::write(&cut, &text[..length]).unwrap();
        let error = load(&cut, &good.key).to_string();
        assert!(error.contains("cut.pem"), "{length}: {error}");
    }
    let swapped = load(&good.key, &good.cert).to_string();
    assert!(swapped.contains("give the file of the certificate"), "{swapped}");
    let missing = load(&authority.path("nobody.pem"), &good.key);
    assert!(matches!(missing, TlsError::Unreadable { .. }), "{missing}");
}
