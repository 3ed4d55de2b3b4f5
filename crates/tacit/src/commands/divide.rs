//! `model divide`: an ensemble of trees as parts, one file for each party.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;
use tacit_models::{Division, Kind, Leaves, Meta, Model, hidden};
use tacit_node::{Config, Keys};
use tacit_types::{Code, Fault, Name};

use super::model;
use crate::cli::{Cli, ModelDivideArgs};
use crate::home::folder;
use crate::output::Out;

/// Divides a model file and writes what each party gets. Touches neither the database nor the network.
pub fn divide(cli: &Cli, out: &Out, args: &ModelDivideArgs) -> Result<(), Fault> {
    let home = folder(cli);
    let config = Config::read(&home)?;
    // Who imports a part puts its own key in the place of the divider's.
    let meta = Meta { owner: Keys::read(&home)?.root.id(), name: Name::new(&args.name)?, version: 1 };
    let holder = args.holder.as_ref().map_or(Ok(config.name), |given| Name::new(given))?;
    let owners = owners(&args.owner)?;
    vacant(&args.out)?;
    let model = model::read(&args.file, &args.format, &args.features, &args.categories, meta)?;
    let parts = parts(&model, &owners, &holder)?;
    let files: Vec<(String, Vec<u8>)> = parts.iter().map(|(p, m)| (format!("{p}.tacit"), m.encode())).collect();
    write(&args.out, &files)?;
    report(out, args, &holder, &model, &parts);
    Ok(())
}

/// `PARTY=FEATURE,FEATURE`, each party once, in the order in which they were first named.
fn owners(given: &[String]) -> Result<Vec<(Name, Vec<String>)>, Fault> {
    let mut owners: Vec<(Name, Vec<String>)> = Vec::new();
    for text in given {
        let wrong = || Fault::new(Code::ArgsInvalid, format!("--owner `{text}`: PARTY=FEATURE,FEATURE is expected"));
        let (party, features) = text.split_once('=').ok_or_else(wrong)?;
        let features: Vec<String> = features.split(',').map(|f| f.trim().to_owned()).collect();
        if features.iter().any(String::is_empty) {
            return Err(wrong());
        }
        let party = Name::new(party.trim())?;
        match owners.iter_mut().find(|(known, _)| *known == party) {
            Some((_, list)) => list.extend(features),
            None => owners.push((party, features)),
        }
    }
    Ok(owners)
}

/// The place of the owner of each feature of a model.
///
/// # Errors
/// `model.features` naming every feature that has no owner, or one that the model does not have or that is named twice.
fn assigned(model: &Model, owners: &[(Name, Vec<String>)]) -> Result<Vec<usize>, Fault> {
    let fault = |what: String| Err(Fault::new(Code::ModelFeatures, what));
    let names: Vec<&str> = model.features().iter().map(|f| f.name.as_str()).collect();
    let mut whose: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, (party, features)) in owners.iter().enumerate() {
        for feature in features {
            if !names.contains(&feature.as_str()) {
                return fault(format!("--owner {party}: the model has no {feature:?}; it has {}", names.join(", ")));
            }
            match whose.insert(feature, place).and_then(|before| owners.get(before)) {
                Some((other, _)) if other == party => return fault(format!("{party} is given {feature:?} twice")),
                Some((other, _)) => return fault(format!("{feature:?} is given to {other} and to {party}")),
                None => {}
            }
        }
    }
    let without: Vec<&str> = names.iter().copied().filter(|name| !whose.contains_key(name)).collect();
    if !without.is_empty() {
        return fault(format!("no --owner has {}: every feature of the model has one", without.join(", ")));
    }
    Ok(names.iter().filter_map(|name| whose.get(name).copied()).collect())
}

/// What each party gets; a holder without features comes last.
fn parts(model: &Model, owners: &[(Name, Vec<String>)], holder: &Name) -> Result<Vec<(Name, Model)>, Fault> {
    if !matches!(model.kind(), Kind::Trees(_)) {
        let what = "only a whole ensemble of trees is divided; the owners of a scorecard import a part each, and a \
                    network stays whole";
        return Err(Fault::new(Code::ModelUnsupported, what));
    }
    let whose = assigned(model, owners)?;
    let mut parties: Vec<Name> = owners.iter().map(|(party, _)| party.clone()).collect();
    let at = parties.iter().position(|party| party == holder).unwrap_or_else(|| {
        parties.push(holder.clone());
        parties.len() - 1
    });
    if parties.len() < 2 {
        let what = format!("{holder} has all features and the leaves: there is nothing to divide");
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    let metas = vec![model.meta().clone(); parties.len()];
    let parts = Division::new(model, &whose, parties.len())?.models(model.link(), &metas, at)?;
    Ok(parties.into_iter().zip(parts).collect())
}

/// A folder that is there is never written into, but for an empty one.
fn vacant(folder: &Path) -> Result<(), Fault> {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().map_or(Ok(()), |_| Err(taken(folder))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotADirectory => Err(taken(folder)),
        Err(e) => Err(failed(folder, &e)),
    }
}

fn taken(folder: &Path) -> Fault {
    let what = format!("{}: something is there already and is not overwritten; name another --out", folder.display());
    Fault::new(Code::IoFailed, what)
}

fn failed(path: &Path, error: &io::Error) -> Fault {
    let code = if error.kind() == ErrorKind::StorageFull { Code::StoreFull } else { Code::IoFailed };
    Fault::new(code, format!("{}: {error}", path.display()))
}

/// Writes the files beside the folder and gives them its name at once: there are all of them or none.
fn write(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), Fault> {
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Only its owner may look into it, as into the files: parts are for one party each.
    let made = tempfile::Builder::new().prefix(".tacit-divide-").tempdir_in(parent).map_err(|e| failed(parent, &e))?;
    for (name, bytes) in files {
        let path = made.path().join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let done = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
        done.map_err(|e| failed(&folder.join(name), &e))?;
    }
    let synced = |path: &Path| File::open(path).and_then(|f| f.sync_all()).map_err(|e| failed(path, &e));
    synced(made.path())?;
    // A folder takes the place of an empty one and of nothing else.
    fs::rename(made.path(), folder).map_err(|e| match e.kind() {
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => taken(folder),
        _ => failed(folder, &e),
    })?;
    // It has its name now and is no longer to be removed.
    let _ = made.keep();
    synced(parent)
}

/// A bound for the job that tells only the order of magnitude of the greatest margin.
fn bound(model: &Model, leaves: Option<&Leaves>) -> f64 {
    let reach = leaves.map_or(0.0, Leaves::reach) * hidden::slope(model);
    2f64.powi(reach.max(1.0).log2().ceil() as i32)
}

fn report(out: &Out, args: &ModelDivideArgs, holder: &Name, model: &Model, parts: &[(Name, Model)]) {
    let (mut table, mut values) = (Vec::new(), Vec::new());
    let (mut trees, mut leaves, mut most) = (0, 0, 1.0);
    for (party, part_model) in parts {
        let Kind::Part(part) = part_model.kind() else { continue };
        (trees, leaves) = (part.trees.len(), part.leaf_count());
        if part.leaves.is_some() {
            most = bound(model, part.leaves.as_ref());
        }
        let splits: usize = part.trees.iter().map(|t| t.splits.len()).sum();
        let file = format!("{party}.tacit");
        let features: Vec<&str> = part_model.features().iter().map(|f| f.name.as_str()).collect();
        let held = if part.leaves.is_some() { out.say("yes", "是") } else { "" };
        table.push(vec![party.to_string(), features.join(", "), splits.to_string(), held.to_owned(), file.clone()]);
        values.push(json!({"party": party.as_str(), "file": args.out.join(file).display().to_string(),
            "features": features, "splits": splits, "leaves": part.leaves.is_some()}));
    }
    let (name, count, of) = (&args.name, out.say("trees", "棵树"), out.say("leaves", "个叶子"));
    let (done, folder) = (out.say("divided", "已拆分"), args.out.display());
    out.text(format!("{done} {name}  {trees} {count}, {leaves} {of}  {folder}"));
    let head = [
        out.say("party", "参与方"),
        out.say("features", "特征"),
        out.say("splits", "分裂数"),
        out.say("leaves' values", "叶子取值"),
        out.say("file", "文件"),
    ];
    out.table(&head, &table);
    out.text(out.say(
        "Give each party its own file and no other. It shows the thresholds of that party's features.",
        "请只把各自的文件交给相应参与方。文件包含该方特征的分裂阈值。",
    ));
    let import = out.say("Each imports it:", "各方导入：");
    out.text(format!("{import} tacit model import {name} PARTY.tacit --format tacit"));
    let needs = out.say("A job of score-trees/v1 needs at least:", "score-trees/v1 作业的参数至少为：");
    out.text(format!("{needs} trees = {trees}, leaves = {leaves}, bound = \"{most}\", holder = \"{holder}\""));
    out.value(&json!({"name": name, "holder": holder.as_str(), "trees": trees, "leaves": leaves,
        "bound": most.to_string(), "parts": values}));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(list: &[&str]) -> Result<Vec<(Name, Vec<String>)>, Fault> {
        owners(&list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn owners_are_named_with_their_features() {
        let owners = given(&["b=x, y", "a=z", "b=w"]).unwrap();
        let names: Vec<(&str, &[String])> = owners.iter().map(|(n, f)| (n.as_str(), f.as_slice())).collect();
        assert_eq!(names, [("b", &["x", "y", "w"].map(String::from)[..]), ("a", &["z"].map(String::from)[..])]);
        for wrong in ["b", "b=", "b=x,", "b=,x", "b=x,,y"] {
            assert_eq!(given(&[wrong]).unwrap_err().code, Code::ArgsInvalid, "{wrong}");
        }
        assert_eq!(given(&["B c=x"]).unwrap_err().code, Code::ArgsNameMalformed);
    }

    #[test]
    fn a_folder_gets_all_files_or_is_left_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let (folder, files) = (place.path().join("parts"), [("a".to_owned(), vec![1]), ("b".to_owned(), vec![2, 3])]);
        write(&folder, &files).unwrap();
        assert_eq!((fs::read(folder.join("a")).unwrap(), fs::read(folder.join("b")).unwrap()), (vec![1], vec![2, 3]));
        let again = write(&folder, &[("a".to_owned(), vec![9])]).unwrap_err();
        assert_eq!((again.code, again.what.contains("not overwritten")), (Code::IoFailed, true), "{}", again.what);
        assert_eq!(fs::read(folder.join("a")).unwrap(), [1]);
        let plain = place.path().join("file");
        fs::write(&plain, "kept").unwrap();
        assert!(write(&plain, &files).is_err() && fs::read(&plain).unwrap() == b"kept");
        // The second file cannot be written: the first is not left either.
        let absent = ("no/where".to_owned(), vec![]);
        assert!(write(&place.path().join("other"), &[files[0].clone(), absent]).is_err());
        assert!(write(&place.path().join("no/parent"), &files).is_err());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "only `parts` and `file` are there");
    }
}
