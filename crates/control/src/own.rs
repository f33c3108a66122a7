use crate::{Caller, Control, Problem, problem};
use base::Secret;

impl Control {
    /// Makes a link by which the caller logs in once more, elsewhere: on the command line.
    ///
    /// # Errors
    /// When the caller is no person.
    pub async fn link_create_own(&self, caller: &Caller) -> Result<Secret, Problem> {
        caller.must_be_person()?;
        self.link_create(caller, &caller.user, false).await
    }

    /// Sets the caller's own password. Whoever has one shows it; who came by a link has none yet. All sessions end.
    ///
    /// # Errors
    /// When the one that was shown is wrong, or the new one will not do.
    pub async fn password_set(
        &self,
        caller: &Caller,
        old: Option<Secret>,
        new: Secret,
    ) -> Result<(), Problem> {
        caller.must_be_person()?;
        let keys = [format!("password {}", caller.user)];
        self.attempts.begin(&keys)?;
        let proof = self.store.user_proof(&caller.name).await.map_err(problem::of("user"))?;
        let proof = proof.filter(|proof| proof.id == caller.user);
        let Some(proof) = proof else {
            return Err(Problem::missing("user"));
        };
        if let Some(hash) = proof.password {
            let old = old.unwrap_or_else(|| Secret::new(String::new()));
            if !self.attempts.verify(Some(hash), old).await? {
                let message = "this is not your password";
                return Err(Problem::invalid("/old", message));
            }
        }
        self.attempts.forget(&keys);
        let hash = self.attempts.hash(new).await?;
        let mut write = self.write(caller).await?;
        let set = write.user_password_set(&caller.user, Some(&hash)).await;
        set.map_err(problem::of("user"))?;
        write.commit().await.map_err(problem::of("user"))
    }
}
