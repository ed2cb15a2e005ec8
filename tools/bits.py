"""Do two checkouts fit the same bits? Every estimator and form on small samples, on this machine.

git worktree add /tmp/before COMMIT
python tools/bits.py /tmp/before .
"""

import json
import os
import subprocess
import sys

WORK = """
import hashlib, json, sys, warnings
import numpy as np
import neuralot
from neuralot import OTNetTransport, OTPTransport, SNOTTransport

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)


def laws(n, d):
    X = rng.normal(size=(n, d))
    return X, X[rng.permutation(n)] @ (np.eye(d) + 0.3) + np.sin(2 * X)


flat = np.c_[rng.uniform(-1, 1, 500), np.zeros(500)]
fork = np.c_[rng.uniform(-1, 1, 500), rng.choice([-1.0, 1.0], 500)]
small, wide, many = laws(500, 2), laws(400, 18), laws(40_000, 3)
steps = {"max_iter": 40, "random_state": 0}
several = {"optimizer": neuralot.Optimizer(n_map_steps=3)} if hasattr(neuralot, "Optimizer") else {"n_map_steps": 3}
cases = {
    "snot": (SNOTTransport(**steps), small),
    "snot network": (SNOTTransport(map_form="network", **steps), small),
    "snot noise": (SNOTTransport(noise_dim=2, **steps), small),
    "snot adam": (SNOTTransport(optimizer="adam", **steps), small),
    "snot several updates": (SNOTTransport(**several, **steps), small),
    "snot wide": (SNOTTransport(**steps), wide),
    "snot many rows": (SNOTTransport(**steps), many),
    "snot early stopping": (SNOTTransport(early_stopping=True, n_iter_no_change=10, **steps), small),
    "otp": (OTPTransport(**steps), (flat, fork)),
    "otp network": (OTPTransport(map_form="network", **steps), (flat, fork)),
    "otp wide": (OTPTransport(**steps), wide),
    "otp wide network": (OTPTransport(map_form="network", **steps), wide),
    "otp isotropic": (OTPTransport(noise_shape="isotropic", **steps), small),
    "otp early stopping": (OTPTransport(early_stopping=True, n_iter_no_change=10, **steps), small),
    "otnet": (OTNetTransport(**steps), small),
    "otnet wide": (OTNetTransport(**steps), wide),
    "otnet smooth": (OTNetTransport(output="smooth", **steps), small),
}
if hasattr(neuralot, "W2GNTransport"):
    cases["w2gn"] = neuralot.W2GNTransport(**steps), small
found = {"": neuralot.__file__}


def record(name, *arrays):
    found[name] = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:16]


for name, (transport, (X, Y)) in cases.items():
    transport.fit(X, Y)
    images = transport.transform(X[:200]), transport.sample(X[:50], 2, random_state=0)
    if hasattr(transport, "inverse_transform"):
        images += (transport.inverse_transform(Y[:50]),)
    record(name, *images, np.array([transport.transport_cost_, transport.score(X, Y)]))
    discrepancies = np.array([r["discrepancy"] for r in transport.history_])
    record(name + ", history", discrepancies)
X, Y = small
for cls in (SNOTTransport, OTPTransport):
    stream = cls(**steps)
    for part in range(4):
        stream.partial_fit(X[part::4], Y[part::4])
    record(cls.__name__ + " stream", stream.transform(X))
    warm = cls(warm_start=True, **steps).fit(X, Y).fit(X[::-1], Y + 1)
    record(cls.__name__ + " warm", warm.transform(X))
other = OTNetTransport(**steps).fit(X, Y).retarget(Y[:100] + 0.1, refine_steps=20)
record("otnet retarget", other.transform(X), other.heights_)
weighted = SNOTTransport(**steps).fit(X, Y, sample_weight=np.arange(500.0), sample_weight_target=np.ones(500))
record("snot weights", weighted.transform(X))
print(json.dumps(found))
"""


def found(checkout: str) -> dict[str, str]:
    env = os.environ | {"PYTHONPATH": os.path.abspath(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", WORK], env=env, cwd="/", check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main() -> None:
    before, now = map(found, sys.argv[1:3])
    print(f"{before.pop('')}\n{now.pop('')}")
    other = [name for name in before if before[name] != now.get(name)]
    print(f"{len(before) - len(other)} of {len(before)} the same" + "".join(f"\n  differs: {name}" for name in other))
    sys.exit(bool(other))


if __name__ == "__main__":
    main()
