//! The REST API: which path does what, who may, and what it answers.

use super::access::{Caller, Need, TOKEN_LIFE_MS};
use super::answer::{Answer, Asked};
use super::call::Call;
use super::state::{App, Comment, Repo, Token};
use super::{checks, deliveries, git_store, json, past, sign_in};
use crate::pull::{Permission, PullState};
use axum::http::Method;
use serde_json::{Value, json};

/// GitHub's bounds of a pull request's lists.
const COMMITS_MAX: usize = 250;
const FILES_MAX: usize = 3_000;
/// GitHub's bound of a comment.
const COMMENT_MAX_CHARS: usize = 65_536;
/// GitHub's eight reactions.
const REACTIONS: [&str; 8] = ["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"];

pub(super) fn answer(mut call: Call<'_>) -> Answer {
    route(&mut call).unwrap_or_else(|refused| refused)
}

fn route(call: &mut Call<'_>) -> Result<Answer, Answer> {
    let segments: Vec<&str> = call.asked.segments.iter().map(String::as_str).collect();
    // `/repositories/ID/…` is how GitHub's links name a repository.
    let (repo, rest) = match segments.as_slice() {
        ["repos", owner, name, rest @ ..] => match call.state.moved_from(owner, name) {
            Some(id) => return Ok(call.moved(id, rest)),
            None => (call.state.repo_by_name(owner, name), rest),
        },
        ["repositories", id, rest @ ..] => (id.parse().ok(), rest),
        other => return app_route(call, other),
    };
    let get = call.asked.method == Method::GET;
    let post = call.asked.method == Method::POST;
    let patch = call.asked.method == Method::PATCH;
    match rest {
        [] if get => call.repository(repo),
        ["installation"] if get => call.repository_installation(repo),
        ["pulls"] if get => call.pulls(repo),
        ["pulls", "comments"] if get => past::none(call, repo, "pulls/comments"),
        ["releases"] if get => past::none(call, repo, "releases"),
        ["issues"] if get => past::issues(call, repo),
        ["issues", "comments"] if get => past::comments(call, repo),
        ["pulls", number] if get => call.pull(repo, number),
        ["pulls", number, "commits"] if get => call.pull_commits(repo, number),
        ["pulls", number, "reviews"] if get => call.pull_reviews(repo, number),
        ["pulls", number, "files"] if get => call.pull_files(repo, number),
        ["collaborators", login, "permission"] if get => call.permission(repo, login),
        ["issues", number, "comments"] if get => call.comments(repo, number),
        ["issues", number, "comments"] if post => call.create_comment(repo, number),
        ["issues", "comments", id] if get => call.comment(repo, id),
        ["issues", "comments", id] if patch => call.update_comment(repo, id),
        ["issues", "comments", id, "reactions"] if post => call.react(repo, id),
        ["issues", number, "labels"] if post => call.add_labels(repo, number),
        ["issues", number, "labels", name] if call.asked.method == Method::DELETE => {
            call.remove_label(repo, number, name)
        }
        ["check-runs"] if post => checks::create(call, repo),
        ["check-runs", id] if get => checks::get(call, repo, id),
        ["check-runs", id] if patch => checks::update(call, repo, id),
        ["check-runs", id, "annotations"] if get => checks::annotations(call, repo, id),
        ["commits", sha, "check-runs"] if get => checks::of_commit(call, repo, sha),
        _ => Err(Answer::not_found()),
    }
}

fn app_route(call: &mut Call<'_>, segments: &[&str]) -> Result<Answer, Answer> {
    let get = call.asked.method == Method::GET;
    let post = call.asked.method == Method::POST;
    match segments {
        ["app"] if get => {
            let id = call.caller.app()?;
            Ok(Answer::ok(json::app(id, &call.state.apps[&id])))
        }
        ["app", "installations"] if get => {
            let app = call.caller.app()?;
            let all = call.state.installations.iter().filter(|(_, i)| i.app == app);
            let all = all.map(|(id, _)| json::installation(call.state, *id)).collect();
            Ok(Answer::page(call.asked, "/app/installations", all, |_, page| Value::Array(page)))
        }
        ["app", "installations", id] if get => {
            let app = call.caller.app()?;
            let id: i64 = id.parse().map_err(|_| Answer::not_found())?;
            call.state.installations.get(&id).filter(|i| i.app == app).ok_or_else(Answer::not_found)?;
            Ok(Answer::ok(json::installation(call.state, id)))
        }
        ["app", "installations", id, "access_tokens"] if post => call.token(id),
        ["login", "oauth", "authorize"] if get => sign_in::authorize(call),
        ["login", "oauth", "access_token"] if post => sign_in::access_token(call),
        ["user"] if get => sign_in::user(call),
        ["app-manifests", code, "conversions"] if post => call.convert_manifest(code),
        ["app", "hook", "deliveries"] if get => deliveries::list(call),
        ["app", "hook", "deliveries", id, "attempts"] if post => deliveries::attempt(call, id),
        ["installation", "repositories"] if get => call.installation_repositories(),
        ["orgs", org, "teams", team, "members"] if get => call.team_members(org, team),
        _ => Err(Answer::not_found()),
    }
}

impl Call<'_> {
    /// What GitHub answers under a repository's former name: 301 to who reads, 307 to who writes.
    fn moved(&self, id: i64, rest: &[&str]) -> Answer {
        let status = if self.asked.method == Method::GET { 301 } else { 307 };
        let path: String = rest.iter().map(|segment| format!("/{segment}")).collect();
        let query =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.asked.query).finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let mut answer = Answer::refuse(status, "Moved Permanently");
        answer
            .headers
            .push(("location", format!("{}/repositories/{id}{path}{mark}{query}", self.asked.base)));
        answer
    }

    /// An App for a code, once.
    fn convert_manifest(&mut self, code: &str) -> Result<Answer, Answer> {
        let manifest = self.state.manifests.remove(code).ok_or_else(Answer::not_found)?;
        let failed = |_| Answer::refuse(500, "no key");
        let (private_key, public_key) = super::key::generate().map_err(failed)?;
        let id = self.state.next_id().unsigned_abs();
        let slug = manifest["name"].as_str().unwrap_or("app").to_lowercase().replace([' ', '.'], "-");
        self.state.user_id(&format!("{slug}[bot]"));
        let webhook_secret = hex::encode(rand::random::<[u8; 16]>());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let permissions = manifest["default_permissions"].as_object().cloned().unwrap_or_default();
        let events = manifest["default_events"].as_array().cloned().unwrap_or_default();
        let app = App {
            slug: slug.clone(),
            public_key,
            webhook_secret: webhook_secret.clone(),
            permissions: permissions.iter().map(|(name, level)| (name.clone(), text(level))).collect(),
            events: events.iter().map(text).collect(),
        };
        let mut made = json::app(id, &app);
        self.state.apps.insert(id, app);
        made["html_url"] = json!(format!("{}/apps/{slug}", self.url));
        made["client_id"] = json!(format!("Iv1.{id}"));
        made["client_secret"] = json!(hex::encode(rand::random::<[u8; 20]>()));
        made["webhook_secret"] = json!(webhook_secret);
        made["pem"] = json!(secrecy::ExposeSecret::expose_secret(&private_key));
        Ok(Answer::created(made))
    }

    fn token(&mut self, id: &str) -> Result<Answer, Answer> {
        let app = self.caller.app()?;
        let id: i64 = id.parse().map_err(|_| Answer::not_found())?;
        let installation = self.state.installations.get(&id).filter(|i| i.app == app);
        let installation = installation.ok_or_else(Answer::not_found)?;
        if installation.suspended_ms.is_some() {
            return Err(super::access::suspended());
        }
        let permissions = installation.permissions.clone();
        let random: [u8; 18] = rand::random();
        let token = format!("ghs_{}", hex::encode(random));
        let expires_ms = self.now_ms + TOKEN_LIFE_MS;
        self.state.tokens.insert(token.clone(), Token { installation: id, expires_ms });
        Ok(Answer::created(json!({
            "token": token,
            "expires_at": json::time(expires_ms),
            "permissions": permissions,
            "repository_selection": "selected",
        })))
    }

    fn installation_repositories(&mut self) -> Result<Answer, Answer> {
        let Caller::Installation(id) = self.caller else {
            return Err(Answer::refuse(403, "You must authenticate with an installation access token"));
        };
        if self.state.installations[&id].suspended_ms.is_some() {
            return Err(super::access::suspended());
        }
        let covered = &self.state.installations[&id].repos;
        let repos = covered.iter().filter_map(|id| self.state.repos.get(id));
        let repos = repos.map(|r| json::repository(self.state, r, &self.url)).collect();
        Ok(Answer::page(
            self.asked,
            "/installation/repositories",
            repos,
            |total, page| json!({ "total_count": total, "repositories": page }),
        ))
    }

    fn repository(&mut self, repo: Option<i64>) -> Result<Answer, Answer> {
        let id = self.allowed(repo, "metadata", Need::Read)?;
        Ok(Answer::ok(json::repository(self.state, &self.state.repos[&id], &self.url)))
    }

    fn repository_installation(&mut self, repo: Option<i64>) -> Result<Answer, Answer> {
        let app = self.caller.app()?;
        let repo = repo.ok_or_else(Answer::not_found)?;
        let covers = |(_, i): &(&i64, &super::state::Installation)| i.app == app && i.repos.contains(&repo);
        let found = self.state.installations.iter().find(covers).map(|(id, _)| *id);
        Ok(Answer::ok(json::installation(self.state, found.ok_or_else(Answer::not_found)?)))
    }

    fn pulls(&mut self, repo: Option<i64>) -> Result<Answer, Answer> {
        let id = self.allowed(repo, "pull_requests", Need::Read)?;
        let repo = &self.state.repos[&id];
        let wanted = self.asked.query.get("state").map_or("open", String::as_str);
        let shown = repo.pulls.values().rev().filter(|p| match wanted {
            "all" => true,
            "closed" => p.state != PullState::Open,
            _ => p.state == PullState::Open,
        });
        let shown = shown
            .map(|p| json::pull(self.state, repo, p, &git_store::base_sha(repo, p), &self.url))
            .collect();
        Ok(self.page(id, "pulls", shown))
    }

    fn pull(&mut self, repo: Option<i64>, number: &str) -> Result<Answer, Answer> {
        let (repo, number) = self.known_pull(repo, number, Need::Read)?;
        let pull = &repo.pulls[&number];
        Ok(Answer::ok(json::pull(self.state, repo, pull, &git_store::base_sha(repo, pull), &self.url)))
    }

    fn pull_commits(&mut self, repo: Option<i64>, number: &str) -> Result<Answer, Answer> {
        let (repo, number) = self.known_pull(repo, number, Need::Read)?;
        let mut commits = git_store::pull_commits(repo, &repo.pulls[&number])?;
        commits.truncate(COMMITS_MAX);
        Ok(self.page(repo.id, &format!("pulls/{number}/commits"), commits))
    }

    fn pull_files(&mut self, repo: Option<i64>, number: &str) -> Result<Answer, Answer> {
        let (repo, number) = self.known_pull(repo, number, Need::Read)?;
        let mut files = git_store::pull_files(repo, &repo.pulls[&number])?;
        files.truncate(FILES_MAX);
        Ok(self.page(repo.id, &format!("pulls/{number}/files"), files))
    }

    fn pull_reviews(&mut self, repo: Option<i64>, number: &str) -> Result<Answer, Answer> {
        let (repo, number) = self.known_pull(repo, number, Need::Read)?;
        let reviews = repo.reviews.values().filter(|review| review.number == number);
        let shown = reviews.map(|review| json::review(self.state, review)).collect();
        Ok(self.page(repo.id, &format!("pulls/{number}/reviews"), shown))
    }

    fn team_members(&mut self, org: &str, team: &str) -> Result<Answer, Answer> {
        let Caller::Installation(id) = self.caller else { return Err(Answer::not_found()) };
        let installation = &self.state.installations[&id];
        let may = installation.permissions.contains_key("members")
            && installation.account.eq_ignore_ascii_case(org);
        let members = self.state.teams.get(&(org.to_lowercase(), team.to_lowercase())).filter(|_| may);
        let members = members.ok_or_else(Answer::not_found)?;
        let shown = members.iter().map(|login| json::user(self.state, login)).collect();
        let path = format!("/orgs/{org}/teams/{team}/members");
        Ok(Answer::page(self.asked, &path, shown, |_, page| Value::Array(page)))
    }

    fn permission(&mut self, repo: Option<i64>, login: &str) -> Result<Answer, Answer> {
        let id = self.allowed(repo, "metadata", Need::Read)?;
        if !self.state.users.contains_key(login) {
            return Err(Answer::refuse(404, &format!("{login} is not a user")));
        }
        let repo = &self.state.repos[&id];
        let default = if repo.private { Permission::None } else { Permission::Read };
        let (permission, role) = match repo.people.get(login).copied().unwrap_or(default) {
            Permission::Admin => ("admin", "admin"),
            Permission::Maintain => ("write", "maintain"),
            Permission::Write => ("write", "write"),
            Permission::Triage => ("read", "triage"),
            Permission::Read => ("read", "read"),
            Permission::None => ("none", ""),
        };
        Ok(Answer::ok(json!({
            "permission": permission,
            "role_name": role,
            "user": json::user(self.state, login),
        })))
    }

    fn comments(&mut self, repo: Option<i64>, number: &str) -> Result<Answer, Answer> {
        let (repo, number) = self.known_pull(repo, number, Need::Read)?;
        let shown = repo.comments.values().filter(|c| c.number == number);
        let shown = shown.map(|c| json::comment(self.state, repo, c, &self.url)).collect();
        Ok(self.page(repo.id, &format!("issues/{number}/comments"), shown))
    }

    fn comment(&mut self, repo: Option<i64>, id: &str) -> Result<Answer, Answer> {
        let repo = self.allowed(repo, "pull_requests", Need::Read)?;
        let id: i64 = id.parse().map_err(|_| Answer::not_found())?;
        let repo = &self.state.repos[&repo];
        let comment = repo.comments.get(&id).ok_or_else(Answer::not_found)?;
        Ok(Answer::ok(json::comment(self.state, repo, comment, &self.url)))
    }

    fn create_comment(&mut self, repo: Option<i64>, number: &str) -> Result<Answer, Answer> {
        let (repo, number) = self.known_pull(repo, number, Need::Write)?;
        if repo.pulls[&number].locked {
            return Err(Answer::refuse(403, "Unable to create comment because issue is locked."));
        }
        let (repo, body) = (repo.id, comment_body(self.asked)?);
        let app = self.caller.acting_app(self.state)?;
        let author = format!("{}[bot]", self.state.apps[&app].slug);
        let id = self.state.add_comment(repo, number, &author, Some(app), &body, self.now_ms);
        let repo = &self.state.repos[&repo];
        Ok(Answer::created(json::comment(self.state, repo, &repo.comments[&id], &self.url)))
    }

    fn update_comment(&mut self, repo: Option<i64>, id: &str) -> Result<Answer, Answer> {
        let repo = self.allowed(repo, "pull_requests", Need::Write)?;
        let app = self.caller.acting_app(self.state)?;
        let id: i64 = id.parse().map_err(|_| Answer::not_found())?;
        let body = comment_body(self.asked)?;
        let now_ms = self.now_ms;
        let comment = self.comment_mut(repo, id)?;
        if comment.app != Some(app) {
            return Err(Answer::refuse(403, "Resource not accessible by integration"));
        }
        comment.body = body;
        comment.updated_ms = now_ms;
        comment.edits += 1;
        let repo = &self.state.repos[&repo];
        Ok(Answer::ok(json::comment(self.state, repo, &repo.comments[&id], &self.url)))
    }

    fn react(&mut self, repo: Option<i64>, id: &str) -> Result<Answer, Answer> {
        let repo = self.allowed(repo, "pull_requests", Need::Write)?;
        let app = self.caller.acting_app(self.state)?;
        let id: i64 = id.parse().map_err(|_| Answer::not_found())?;
        let content = self.asked.json()?["content"].as_str().unwrap_or("").to_owned();
        if !REACTIONS.contains(&content.as_str()) {
            return Err(Answer::invalid("Reaction", "content", "is not included in the list"));
        }
        let who = format!("{}[bot]", self.state.apps[&app].slug);
        let fresh = self.state.next_id();
        let comment = self.comment_mut(repo, id)?;
        let known =
            comment.reactions.iter().find(|(_, by, what)| *by == who && *what == content).map(|r| r.0);
        if known.is_none() {
            comment.reactions.push((fresh, who.clone(), content.clone()));
        }
        let body = json!({
            "id": known.unwrap_or(fresh),
            "user": json::user(self.state, &who),
            "content": content,
        });
        Ok(if known.is_some() { Answer::ok(body) } else { Answer::created(body) })
    }

    fn add_labels(&mut self, repo: Option<i64>, number: &str) -> Result<Answer, Answer> {
        let (repo, number) = self.known_pull(repo, number, Need::Write)?;
        let id = repo.id;
        let body = self.asked.json()?;
        let names = body["labels"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let names: Vec<String> = names.map(str::to_owned).collect();
        if names.is_empty() {
            return Err(Answer::invalid("Label", "labels", "is missing"));
        }
        let pull = self.state.repos.get_mut(&id).and_then(|repo| repo.pulls.get_mut(&number));
        let pull = pull.ok_or_else(Answer::not_found)?;
        for name in names {
            if !pull.labels.contains(&name) {
                pull.labels.push(name);
            }
        }
        Ok(Answer::ok(labels(&pull.labels)))
    }

    fn remove_label(&mut self, repo: Option<i64>, number: &str, name: &str) -> Result<Answer, Answer> {
        let (repo, number) = self.known_pull(repo, number, Need::Write)?;
        let id = repo.id;
        let pull = self.state.repos.get_mut(&id).and_then(|repo| repo.pulls.get_mut(&number));
        let pull = pull.ok_or_else(Answer::not_found)?;
        let at = pull.labels.iter().position(|label| label == name).ok_or_else(Answer::not_found)?;
        pull.labels.remove(at);
        Ok(Answer::ok(labels(&pull.labels)))
    }

    fn comment_mut(&mut self, repo: i64, id: i64) -> Result<&mut Comment, Answer> {
        self.state.repos.get_mut(&repo).and_then(|r| r.comments.get_mut(&id)).ok_or_else(Answer::not_found)
    }

    fn known_pull(&self, repo: Option<i64>, number: &str, need: Need) -> Result<(&Repo, u64), Answer> {
        let id = self.allowed(repo, "pull_requests", need)?;
        let repo = &self.state.repos[&id];
        let number = number.parse().ok().filter(|n| repo.pulls.contains_key(n));
        Ok((repo, number.ok_or_else(Answer::not_found)?))
    }
}

fn labels(names: &[String]) -> Value {
    Value::Array(names.iter().map(|name| json!({ "name": name })).collect())
}

fn comment_body(asked: &Asked) -> Result<String, Answer> {
    let body = asked.json()?["body"].as_str().unwrap_or("").to_owned();
    if body.trim().is_empty() {
        return Err(Answer::invalid("IssueComment", "body", "body can't be blank"));
    }
    if body.chars().count() > COMMENT_MAX_CHARS {
        return Err(Answer::invalid(
            "IssueComment",
            "body",
            "body is too long (maximum is 65536 characters)",
        ));
    }
    Ok(body)
}
