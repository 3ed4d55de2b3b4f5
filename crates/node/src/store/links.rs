//! What went over the links of each job's last attempt, as their ends have signed it. Receipts have the root alone.

use tacit_engine::Linked;
use tacit_receipts::link::{LinkState, links_root};
use tacit_types::{Attempt, Hash, Seat};

use super::*;

/// One link of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRow {
    /// The node at the other end.
    pub peer: NodeId,
    /// How it stands.
    pub state: LinkState,
    /// Its leaf.
    pub leaf: Vec<u8>,
}

const STATES: [LinkState; 3] = [LinkState::Sealed, LinkState::Differs, LinkState::Unsealed];

/// The links of an attempt, in the order of the other ends' ids, which is that of the leaves under its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// The attempt.
    pub attempt: Attempt,
    /// The links.
    pub rows: Vec<LinkRow>,
}

impl Links {
    /// The root over their leaves.
    pub fn root(&self) -> Option<Hash> {
        links_root(self.rows.iter().map(|row| row.leaf.as_slice()))
    }
}

impl Links {
    /// What this node, of this id, reports of them; none of so many that seats have no numbers.
    pub fn linked(&self, own: &NodeId) -> Option<Linked> {
        let place = |row: &LinkRow| self.rows.iter().filter(|other| other.peer < row.peer).count();
        let seat = |row: &LinkRow| u16::try_from(place(row) + usize::from(*own < row.peer)).ok().map(Seat);
        let of = |state| self.rows.iter().filter(move |row| row.state == state);
        Some(Linked {
            root: self.root()?,
            differing: of(LinkState::Differs).map(seat).collect::<Option<_>>()?,
            unsealed: u16::try_from(of(LinkState::Unsealed).count()).ok()?,
        })
    }
}

impl Tx<'_> {
    /// Keeps the links of an attempt, in place of those of one before.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_links(&mut self, job: &JobId, attempt: Attempt, links: &[LinkRow]) -> Result<()> {
        let query = sqlx::query("DELETE FROM links WHERE job = ?").bind(job.0.as_slice());
        query.execute(&mut *self.0).await.map_err(|e| fault(&e))?;
        for row in links {
            let state = STATES.iter().position(|state| *state == row.state).unwrap_or_default();
            sqlx::query("INSERT INTO links (job, attempt, peer, state, leaf) VALUES (?, ?, ?, ?, ?)")
                .bind(job.0.as_slice())
                .bind(i64::from(attempt.0))
                .bind(row.peer.0.as_slice())
                .bind(state as i64)
                .bind(row.leaf.as_slice())
                .execute(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
        }
        Ok(())
    }

    /// The links of a job's last attempt that had any.
    ///
    /// # Errors
    /// Those of the database; `store.corrupt`.
    pub async fn links(&mut self, job: &JobId) -> Result<Option<Links>> {
        let sql = "SELECT attempt, peer, state, leaf FROM links WHERE job = ? ORDER BY peer";
        let rows = sqlx::query(sql).bind(job.0.as_slice()).fetch_all(&mut *self.0).await.map_err(|e| fault(&e))?;
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let state = usize::try_from(row.get::<i64, _>(2)).ok().and_then(|state| STATES.get(state));
            Ok(LinkRow {
                peer: NodeId(id32(&row.get::<Vec<u8>, _>(1), "the end of a link")?),
                state: *state.ok_or_else(|| corrupt("the state of a link"))?,
                leaf: row.get(3),
            })
        };
        let Some(first) = rows.first() else { return Ok(None) };
        let attempt = u32::try_from(first.get::<i64, _>(0)).map_err(|_| corrupt("the attempt of a link"))?;
        Ok(Some(Links { attempt: Attempt(attempt), rows: rows.iter().map(read).collect::<Result<_>>()? }))
    }
}

impl Store {
    /// As [`Tx::links`].
    ///
    /// # Errors
    /// Those of [`Tx::links`].
    pub async fn links(&self, job: &JobId) -> Result<Option<Links>> {
        let mut tx = self.begin().await?;
        tx.links(job).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn links_are_those_of_the_last_attempt_and_outlast_a_restart() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("node.db");
        let store = Store::open(&path).await.unwrap();
        let job = JobId([7; 32]);
        let row = |n: u8, state| LinkRow { peer: NodeId([n; 32]), state, leaf: vec![n; 40] };
        let first = [row(2, LinkState::Unsealed), row(1, LinkState::Sealed), row(3, LinkState::Differs)];
        let mut tx = store.begin().await.unwrap();
        tx.put_links(&job, Attempt(1), &first).await.unwrap();
        tx.put_links(&JobId([8; 32]), Attempt(1), &first[..1]).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
        let store = Store::open(&path).await.unwrap();
        let kept = store.links(&job).await.unwrap().unwrap();
        assert_eq!(kept, Links { attempt: Attempt(1), rows: [&first[1..2], &first[..1], &first[2..]].concat() });
        for (own, seat) in [(0, 3), (2, 3), (9, 2)] {
            let linked = kept.linked(&NodeId([own; 32])).unwrap();
            assert_eq!((linked.root, linked.unsealed), (kept.root().unwrap(), 1));
            assert_eq!(linked.differing, [Seat(seat)], "the places of the others, this node's own between them");
        }
        assert_eq!(kept.root(), links_root([1, 2, 3].map(|n| [n; 40]).iter().map(|leaf| leaf.as_slice())));
        let mut tx = store.begin().await.unwrap();
        tx.put_links(&job, Attempt(2), &first[1..2]).await.unwrap();
        assert_eq!(tx.links(&job).await.unwrap().unwrap(), Links { attempt: Attempt(2), rows: vec![first[1].clone()] });
        tx.put_links(&job, Attempt(3), &[]).await.unwrap();
        assert_eq!(tx.links(&job).await.unwrap(), None, "an attempt without links leaves those of no other");
        assert_eq!(tx.links(&JobId([8; 32])).await.unwrap().unwrap().rows.len(), 1);
        tx.commit().await.unwrap();
        store.close().await;
    }
}
