//! IAM's changes, seen from every node: a policy that allows and denies in turn, a key that is switched on and off.
//!
//! The bound is none: a change is seen by every request that begins after its acknowledgement, on any node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pileus_api_iam as iam;
use pileus_api_sqs as sqs;
use pileus_core::{Rng as _, SeededRng};
use pileus_platform::Caller;

use crate::cloud::{Call, Cloud, Running, Trouble, account, root};
use crate::workload::Crew;

const USER: &str = "ann";
const READERS: u64 = 3;
/// After it a change that was not acknowledged has taken effect or never will: longer than any commit is under way.
const SETTLED: Duration = Duration::from_secs(12);

#[derive(Clone)]
pub struct Access(Arc<Parts>);

struct Parts {
    crew: Crew,
    caller: Caller,
    key_id: String,
    policy: Switch,
    key: Switch,
}

/// Something that one client switches, and others see.
struct Switch {
    name: &'static str,
    turns: Mutex<Vec<Turn>>,
    seen: Mutex<[u64; 2]>,
}

struct Turn {
    to: bool,
    began: Duration,
    /// When it was acknowledged.
    ended: Option<Duration>,
}

impl Switch {
    fn new(name: &'static str, to: bool) -> Switch {
        let first = Turn { to, began: Duration::ZERO, ended: Some(Duration::ZERO) };
        Switch { name, turns: Mutex::new(vec![first]), seen: Mutex::default() }
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, Vec<Turn>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, to: bool, began: Duration) {
        self.turns().push(Turn { to, began, ended: None });
    }

    fn end(&self, ended: Duration) {
        if let Some(turn) = self.turns().last_mut() {
            turn.ended = Some(ended);
        }
    }

    /// Whether a request between two moments may have seen it so.
    fn saw(&self, value: bool, began: Duration, ended: Duration, node: usize) -> Result<(), String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(value)] += 1;
        let turns = self.turns();
        let settled = turns.iter().rposition(|turn| turn.ended.is_some_and(|end| end <= began)).unwrap_or(0);
        let possible =
            turns[settled..].iter().filter(|turn| turn.began <= ended).any(|turn| turn.to == value);
        if possible {
            return Ok(());
        }
        let since = began.saturating_sub(turns[settled].ended.unwrap_or_default());
        Err(format!("node {node} did not see the {}, which was acknowledged {since:?} before", self.name))
    }
}

impl Access {
    /// Creates the user while all is calm.
    pub async fn create(crew: &Crew) -> Result<Access, String> {
        let rng = crew.cloud.world().rng("access", 0);
        let running = crew.cloud.any(&rng).await;
        let name = Some(USER.to_owned());
        let input = iam::CreateUserRequest { user_name: name.clone(), ..Default::default() };
        let made = crew.cloud.call(&running, root(), iam::CREATE_USER, input).await;
        let user = made.result.map_err(|trouble| format!("no user: {trouble:?}"))?.user.unwrap_or_default();
        let input = iam::CreateAccessKeyRequest { user_name: name };
        let made = crew.cloud.call(&running, root(), iam::CREATE_ACCESS_KEY, input).await;
        let key = made.result.map_err(|trouble| format!("no key: {trouble:?}"))?.access_key;
        Ok(Access(Arc::new(Parts {
            crew: crew.clone(),
            caller: Caller::user(account(), "/", USER, user.user_id.as_deref().unwrap_or_default()),
            key_id: key.and_then(|key| key.access_key_id).unwrap_or_default(),
            policy: Switch::new("change of a policy", false),
            key: Switch::new("change of a key", true),
        })))
    }

    pub fn begin(&self) {
        let (access, rng) = (self.clone(), self.rng("policy", 0));
        self.0.crew.spawn(async move { access.switch_policy(rng).await });
        let (access, rng) = (self.clone(), self.rng("key", 0));
        self.0.crew.spawn(async move { access.switch_key(rng).await });
        for number in 0..READERS {
            let (access, rng) = (self.clone(), self.rng("reader", number));
            self.0.crew.spawn(async move { access.read(rng).await });
        }
    }

    async fn switch_policy(&self, rng: SeededRng) {
        while !self.0.crew.is_over() {
            let (to, running) = (rng.below(2) == 0, self.cloud().any(&rng).await);
            self.0.policy.begin(to, self.cloud().world().now());
            let effect = if to { "Allow" } else { "Deny" };
            let document = format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Action":"sqs:*","Resource":"*"}}}}"#
            );
            let input = iam::PutUserPolicyRequest {
                user_name: Some(USER.to_owned()),
                policy_name: Some("switch".to_owned()),
                policy_document: Some(document),
            };
            let call = self.cloud().call(&running, root(), iam::PUT_USER_POLICY, input).await;
            self.settle(&self.0.policy, &call, &rng).await;
        }
    }

    async fn switch_key(&self, rng: SeededRng) {
        while !self.0.crew.is_over() {
            let (to, running) = (rng.below(2) == 0, self.cloud().any(&rng).await);
            self.0.key.begin(to, self.cloud().world().now());
            let input = iam::UpdateAccessKeyRequest {
                user_name: Some(USER.to_owned()),
                access_key_id: Some(self.0.key_id.clone()),
                status: Some(if to { "Active" } else { "Inactive" }.to_owned()),
            };
            let call = self.cloud().call(&running, root(), iam::UPDATE_ACCESS_KEY, input).await;
            self.settle(&self.0.key, &call, &rng).await;
        }
    }

    async fn settle<T>(&self, switch: &Switch, call: &Call<T>, rng: &SeededRng) {
        match &call.result {
            Ok(_) => switch.end(call.ended),
            Err(Trouble::Unknown { .. }) => self.cloud().world().sleep(SETTLED).await,
            Err(Trouble::Refused { code, message }) => {
                self.0.crew.check(Err(format!("the {} was refused: {code}: {message}", switch.name)));
            }
        }
        self.0.crew.pause(rng, Duration::from_millis(300)).await;
    }

    async fn read(&self, rng: SeededRng) {
        while !self.0.crew.is_over() {
            self.0.crew.pause(&rng, Duration::from_millis(100)).await;
            let running = self.cloud().any(&rng).await;
            let held = if rng.below(2) == 0 {
                self.read_policy(&running).await
            } else {
                self.read_key(&running).await
            };
            self.0.crew.check(held);
        }
    }

    async fn read_policy(&self, running: &Running) -> Result<(), String> {
        let caller = self.0.caller.clone();
        let call = self.cloud().call(running, caller, sqs::LIST_QUEUES, Default::default()).await;
        let is_allowed = match &call.result {
            Ok(_) => true,
            Err(Trouble::Refused { code, .. }) if code.contains("AccessDenied") => false,
            Err(Trouble::Refused { code, message }) => {
                return Err(format!("a list was refused: {code}: {message}"));
            }
            Err(Trouble::Unknown { .. }) => return Ok(()),
        };
        self.0.policy.saw(is_allowed, call.began, call.ended, call.node)
    }

    async fn read_key(&self, running: &Running) -> Result<(), String> {
        let world = self.cloud().world();
        let (platform, id, began) = (running.platform.clone(), self.0.key_id.clone(), world.now());
        let found =
            self.cloud().on(running, async move { platform.identities().access_key(&id).await }).await;
        match found {
            Some(Ok(Some(key))) => self.0.key.saw(key.is_active, began, world.now(), running.node),
            Some(Ok(None)) => Err(format!("node {} does not know the key", running.node)),
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// How often each answer was seen.
    pub fn seen(&self) -> [[u64; 2]; 2] {
        [&self.0.policy, &self.0.key]
            .map(|switch| *switch.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn cloud(&self) -> &Cloud {
        &self.0.crew.cloud
    }

    fn rng(&self, role: &str, number: u64) -> SeededRng {
        self.cloud().world().rng(&format!("access/{role}"), number)
    }
}
