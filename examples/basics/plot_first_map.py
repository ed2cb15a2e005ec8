"""
A first map
===========

Two samples of points are given, without pairs: a normal law and two half moons. A transport learns to move the first
onto the second at the lowest cost, and then also moves points that it has not seen.
"""

# %%
# The figure shows 300 new source points in blue and their images in orange, on the target sample in grey. Each line
# joins a point and its image. The images follow both moons; a few lie between them, because the map of a network is
# continuous.
import matplotlib.pyplot as plt

from neuralot import OTPTransport
from neuralot.datasets import make_moons
from neuralot.plots import plot_transport

pair = make_moons()
X_source, X_target = pair.sample(2000, random_state=0)
transport = OTPTransport(max_iter=800, random_state=0).fit(X_source, X_target)

X_new, Y_new = pair.sample(1000, random_state=1)
images = transport.transform(X_new)
plot_transport(X_new[:300], images[:300], X_target)
plt.show()

# %%
# Two numbers check the map on new points. The squared W2 distance between images and new target points is small: below
# 0.05, where the source itself is more than 0.5 away. The mean squared displacement is within 20 % of the cost of the
# exact plan, which POT computes for these points.
from neuralot.metrics import d_target, exact_cost, transport_cost

distance, start = d_target(images, Y_new), d_target(X_new, Y_new)
cost, exact = transport_cost(X_new, images), exact_cost(X_new, Y_new)
print(f"squared W2 distance to the target: images {distance:.3f}, source {start:.3f}")
print(f"mean squared displacement: {cost:.3f}, exact plan {exact:.3f}")
assert distance < 0.05
assert start > 0.5
assert abs(cost / exact - 1) < 0.2
