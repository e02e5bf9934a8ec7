use super::*;

impl Facts {
    /// A container as GitLab Runner labels it.
    pub(crate) fn of_job(project: u64, job: u64, kind: &str, env: &[&str]) -> Self {
        let labels = [
            ("managed", "true".to_owned()),
            ("type", kind.to_owned()),
            ("runner.id", "Ab3dEf9_x".to_owned()),
            ("runner.local_id", "0".to_owned()),
            ("runner.system_id", "s_0123456789ab".to_owned()),
            ("project.id", project.to_string()),
            ("project.runner_id", "0".to_owned()),
            ("pipeline.id", "574".to_owned()),
            ("job.id", job.to_string()),
            ("job.url", format!("https://gitlab.example.com/g/p/-/jobs/{job}")),
            ("job.sha", "a".repeat(40)),
            ("job.before_sha", "0".repeat(40)),
            ("job.ref", "feature".to_owned()),
            ("job.timeout", "1h0m0s".to_owned()),
        ];
        Self {
            container_id: format!("{kind}-{job}"),
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            name: format!("runner-ab3def9x-project-{project}-concurrent-0-0a1b2c3d4e5f6071-{kind}"),
            hostname: format!("runner-ab3def9x-project-{project}-concurrent-0"),
            labels: labels
                .into_iter()
                .map(|(k, v)| (format!("com.gitlab.gitlab-runner.{k}"), v))
                .collect(),
            env: env.iter().map(|entry| (*entry).to_owned()).collect(),
            image_env: vec![],
            image_labels: BTreeMap::new(),
            image_ids: vec!["sha256:beef".to_owned()],
        }
    }
}

/// An engine with containers at addresses; the test moves them.
#[derive(Debug)]
pub(crate) struct FakeEngine {
    pub(crate) at: Mutex<HashMap<IpAddr, Vec<String>>>,
    pub(crate) containers: Mutex<HashMap<String, Inspected>>,
    pub(crate) news: broadcast::Sender<Gone>,
}

impl FakeEngine {
    pub(crate) fn new(containers: Vec<(&str, Facts)>) -> Arc<Self> {
        let engine = Self {
            at: Mutex::default(),
            containers: Mutex::default(),
            news: broadcast::channel(16).0,
        };
        for (address, facts) in containers {
            engine.place(address, &facts.container_id);
            let inspected = Inspected {
                facts: facts.clone(),
                running: true,
                paused: false,
                pid: 7,
            };
            engine.containers.lock().unwrap().insert(facts.container_id, inspected);
        }
        Arc::new(engine)
    }

    pub(crate) fn place(&self, address: &str, id: &str) {
        self.at
            .lock()
            .unwrap()
            .insert(address.parse().unwrap(), vec![id.to_owned()]);
    }

    pub(crate) fn stop(&self, id: &str) {
        self.containers.lock().unwrap().get_mut(id).unwrap().running = false;
        // Nobody may be watching.
        let _ = self.news.send(Gone::Container(id.to_owned()));
    }
}

impl Engine for Arc<FakeEngine> {
    async fn find(&self, address: IpAddr) -> Result<Vec<String>, Unidentified> {
        Ok(self.at.lock().unwrap().get(&address).cloned().unwrap_or_default())
    }

    async fn inspect(&self, id: &str) -> Result<Inspected, Unidentified> {
        self.containers
            .lock()
            .unwrap()
            .get(id)
            .cloned()
            .ok_or(Unidentified::NotRunning)
    }

    fn watch(&self) -> Watch {
        Watch::new(self.news.subscribe())
    }
}

/// A kernel that confirms whatever the test has not disowned.
#[derive(Debug, Default)]
pub(crate) struct FakeKernel {
    pub(crate) disowned: Mutex<bool>,
    pub(crate) told: Mutex<Option<Hole>>,
    /// The process ids whose namespaces were entered.
    pub(crate) entered: Mutex<Vec<i32>>,
}

impl Kernel for Arc<FakeKernel> {
    type Socket = ();

    async fn pin(&self, container: &Inspected, _: Connection, hole: Option<Hole>) -> Result<(), Unidentified> {
        *self.told.lock().unwrap() = hole;
        self.entered.lock().unwrap().push(container.pid);
        self.confirm(&())
    }

    fn confirm(&self, (): &()) -> Result<(), Unidentified> {
        if *self.disowned.lock().unwrap() {
            Err(Unidentified::NoSuchSocket)
        } else {
            Ok(())
        }
    }
}

fn from(address: &str) -> Connection {
    Connection {
        client: SocketAddr::new(address.parse().unwrap(), 40000),
        original_destination: Some("169.254.169.254:80".parse().unwrap()),
    }
}

type Witnesses = (Arc<FakeEngine>, Arc<FakeKernel>);

fn set_up(hole: Option<Hole>) -> (Witnesses, Identity<Arc<FakeEngine>, Arc<FakeKernel>>) {
    let a = Facts::of_job(20, 1, "build", &[]);
    let b = Facts::of_job(21, 2, "build", &[]);
    let engine = FakeEngine::new(vec![("172.17.0.2", a), ("172.17.0.3", b)]);
    let kernel = Arc::new(FakeKernel::default());
    let identity = Identity::new(
        engine.clone(),
        kernel.clone(),
        Switches {
            hole,
            default_role: None,
        },
    );
    ((engine, kernel), identity)
}

async fn who(identity: &Identity<Arc<FakeEngine>, Arc<FakeKernel>>, address: &str) -> Result<String, Unidentified> {
    Ok(identity.identify(from(address)).await?.facts.container_id.clone())
}

#[tokio::test]
async fn the_container_that_owns_the_address_now_is_the_caller() {
    let ((engine, _), identity) = set_up(None);
    assert_eq!(who(&identity, "172.17.0.2").await.unwrap(), "build-1");
    engine.place("172.17.0.2", "build-2");
    assert_eq!(who(&identity, "172.17.0.2").await.unwrap(), "build-2");
    engine.at.lock().unwrap().insert(
        "172.17.0.2".parse().unwrap(),
        vec!["build-1".to_owned(), "build-2".to_owned()],
    );
    assert_eq!(who(&identity, "172.17.0.2").await, Err(Unidentified::UnknownAddress));
    engine.stop("build-2");
    assert_eq!(who(&identity, "172.17.0.3").await, Err(Unidentified::NotRunning));
}

#[tokio::test]
async fn a_direct_connection_is_nobodys() {
    let (_, identity) = set_up(None);
    let direct = Connection {
        original_destination: None,
        ..from("172.17.0.2")
    };
    assert_eq!(identity.identify(direct).await.unwrap_err(), Unidentified::Direct);
}

#[tokio::test]
async fn without_the_kernels_word_only_the_address_holes_know_the_caller() {
    for (hole, known) in [
        (None, false),
        (Some(Hole::AcceptListenSocket), false),
        (Some(Hole::AttestOncePerConnection), false),
        (Some(Hole::AddressOnly), true),
        (Some(Hole::CachedAddressLookup), true),
        (Some(Hole::StaleAddressLookup), true),
    ] {
        let ((_, kernel), identity) = set_up(hole);
        *kernel.disowned.lock().unwrap() = true;
        assert_eq!(who(&identity, "172.17.0.2").await.is_ok(), known, "{hole:?}");
    }
}

#[tokio::test]
async fn the_kernel_is_told_of_the_hole() {
    for hole in [None, Some(Hole::AcceptListenSocket)] {
        let ((_, kernel), identity) = set_up(hole);
        who(&identity, "172.17.0.2").await.unwrap();
        assert_eq!(*kernel.told.lock().unwrap(), hole);
    }
}

#[tokio::test]
async fn a_process_id_is_asked_for_again_unless_it_is_trusted() {
    for (hole, second) in [(None, 8), (Some(Hole::TrustsPid), 7)] {
        let ((engine, kernel), identity) = set_up(hole);
        who(&identity, "172.17.0.2").await.unwrap();
        for container in engine.containers.lock().unwrap().values_mut() {
            container.pid = 8;
        }
        who(&identity, "172.17.0.2").await.unwrap();
        assert_eq!(*kernel.entered.lock().unwrap(), [7, second], "{hole:?}");
    }
}

#[tokio::test]
async fn an_address_keeps_its_running_container_only_with_the_cache() {
    let ((engine, _), identity) = set_up(Some(Hole::CachedAddressLookup));
    assert_eq!(who(&identity, "172.17.0.2").await.unwrap(), "build-1");
    engine.place("172.17.0.2", "build-2");
    assert_eq!(who(&identity, "172.17.0.2").await.unwrap(), "build-1");
    engine.stop("build-1");
    assert_eq!(who(&identity, "172.17.0.2").await.unwrap(), "build-2");
}

#[tokio::test]
async fn an_address_keeps_its_dead_container_only_when_stale() {
    for (hole, name) in [
        (None, "build-2"),
        (Some(Hole::CachedAddressLookup), "build-2"),
        (Some(Hole::StaleAddressLookup), "build-1"),
    ] {
        let ((engine, _), identity) = set_up(hole);
        who(&identity, "172.17.0.2").await.unwrap();
        engine.stop("build-1");
        engine.place("172.17.0.2", "build-2");
        assert_eq!(who(&identity, "172.17.0.2").await.unwrap(), name, "{hole:?}");
    }
}

#[tokio::test]
async fn an_unlisted_address_is_a_caller_only_with_default_role() {
    for (hole, known) in [
        (None, false),
        (Some(Hole::CachedAddressLookup), false),
        (Some(Hole::DefaultRole), true),
    ] {
        let (_, identity) = set_up(hole);
        assert_eq!(who(&identity, "172.17.0.99").await.is_ok(), known, "{hole:?}");
    }
}

#[tokio::test]
async fn a_socket_that_changed_is_noticed_unless_attested_once() {
    for (hole, noticed) in [(None, true), (Some(Hole::AttestOncePerConnection), false)] {
        let ((_, kernel), identity) = set_up(hole);
        let caller = identity.identify(from("172.17.0.2")).await.unwrap();
        *kernel.disowned.lock().unwrap() = true;
        assert_eq!(identity.confirm(&caller).is_err(), noticed, "{hole:?}");
    }
}

#[tokio::test]
async fn only_the_end_of_the_callers_container_ends_its_connection() {
    let ((engine, _), identity) = set_up(None);
    let mut watch = identity.watch();
    let facts = Facts::of_job(20, 1, "build", &[]);
    engine.stop("build-2");
    engine.stop("build-1");
    identity.ended(&mut watch, &facts).await;
    let mut watch = identity.watch();
    engine.news.send(Gone::Anything).unwrap();
    identity.ended(&mut watch, &facts).await;
}
