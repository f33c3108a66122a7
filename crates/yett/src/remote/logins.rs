use super::trust::Trust;
use base::Secret;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The file below the folder for settings.
const NAME: &str = "yett/logins.json";
/// For its owner only.
const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Bytes that are read of it.
const BYTES_MAX: usize = 1 << 20;

/// Where somebody has logged in.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) url: String,
    pub(crate) token: Secret,
    /// The file with the authorities that are believed there, if not those of the system.
    pub(crate) ca: Option<String>,
}

/// The file in which logins are kept.
fn path() -> Result<PathBuf, String> {
    let text = |name| base::env::text(name).filter(|it| !it.is_empty());
    let folder = text("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(text("HOME")?).join(".config")));
    let folder = folder.ok_or("neither XDG_CONFIG_HOME nor HOME is set: there is no place to keep a login; `YETT_URL` and `YETT_TOKEN` do without")?;
    Ok(folder.join(NAME))
}

/// The login at a URL, or the last one. `YETT_TOKEN` counts before what is kept.
///
/// # Errors
/// In words, and what to do.
pub(crate) fn find(url: Option<&str>, trust: &Trust) -> Result<Login, String> {
    let url = url.map(super::client::origin).transpose()?;
    let ca = trust.ca.clone();
    if let (Some(url), Some(token)) =
        (&url, base::env::text("YETT_TOKEN").filter(|it| !it.is_empty()))
    {
        return Ok(Login { url: url.clone(), token: Secret::new(token), ca });
    }
    let kept = read(&path()?)?;
    let url = url.or_else(|| kept["last"].as_str().map(str::to_owned));
    let token = url.as_ref().and_then(|url| kept["tokens"][url].as_str());
    match (url.clone(), token) {
        (Some(url), Some(token)) => {
            let ca = ca.or_else(|| kept["authorities"][&url].as_str().map(str::to_owned));
            Ok(Login { url, token: Secret::new(token.to_owned()), ca })
        }
        (Some(url), None) => Err(format!("nobody has logged in at {url}: `yett login {url}`")),
        _ => {
            Err("nobody has logged in: `yett login URL`, with the URL of the admin API".to_owned())
        }
    }
}

/// Keeps a login, which is the last one from now on.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn keep(login: &Login) -> Result<PathBuf, String> {
    let path = path()?;
    let mut kept = read(&path)?;
    kept["last"] = login.url.as_str().into();
    kept["tokens"][&login.url] = login.token.reveal().into();
    kept["authorities"][&login.url] = login.ca.as_deref().into();
    write(&path, &kept).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}

/// What is kept. A file that others may read is not believed.
fn read(path: &Path) -> Result<Value, String> {
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(json!({ "tokens": {} })),
        Err(error) => return Err(format!("cannot read {shown}: {error}")),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            return Err(format!(
                "others than its owner may read {shown}: `chmod 600 {shown}`, or remove it and log in anew"
            ));
        }
        Ok(_) => {}
    }
    let bytes =
        crate::disk::read(path, BYTES_MAX).map_err(|why| format!("cannot read {shown}: {why}"))?;
    let kept: Option<Value> =
        serde_json::from_slice(&bytes).ok().filter(|it: &Value| it["tokens"].is_object());
    kept.ok_or_else(|| format!("{shown} is not what was written; remove it and log in anew"))
}

fn write(path: &Path, kept: &Value) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    let beside = path.with_extension("json.new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(MODE).open(&beside)?;
    file.write_all(kept.to_string().as_bytes())?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn only_its_owner_may_read_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("yett/logins.json");
        assert_eq!(read(&path).unwrap(), json!({ "tokens": {} }));
        let kept = json!({ "last": "http://a", "tokens": { "http://a": "t" } });
        write(&path, &kept).unwrap();
        write(&path, &kept).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path).unwrap(), kept);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "{").unwrap();
        assert!(read(&path).unwrap_err().contains("remove it"));
    }
}
