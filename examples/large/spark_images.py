"""Fit parquet files that Spark has written, and map a Spark data frame with `mapInPandas`.

pip install 'neuralot[spark]'              # and Java
python examples/large/spark_images.py
"""

import os
import sys
import tempfile

import numpy as np
import pandas as pd

from neuralot import SNOTTransport


def images_of(transport):
    """Return a function for `mapInPandas` that maps the rows of each data frame."""

    def images(frames):
        for frame in frames:
            yield pd.DataFrame(transport.transform(frame), columns=frame.columns)

    return images


def draws_of(transport, n_draws, seed=0):
    """Return a function for `mapInPandas` that draws `n_draws` rows for each row, one after another."""

    def draws(frames):
        number = partition_number()
        for i, frame in enumerate(frames):
            random_state = int(np.random.SeedSequence([seed, number, i]).generate_state(1)[0])
            values = transport.sample(frame, n_draws, random_state=random_state)  # (n_draws, k, n_features)
            yield pd.DataFrame(values.swapaxes(0, 1).reshape(-1, values.shape[2]), columns=frame.columns)

    return draws


def partition_number():
    """Return the number of the partition on an executor of Spark."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.partitionId() if context else 0


def main():
    import pyarrow.dataset as ds
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # the executors need neuralot, too
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    rng = np.random.default_rng(0)
    source = spark.createDataFrame(pd.DataFrame(rng.normal(size=(20_000, 2)), columns=["a", "b"]))
    target = spark.createDataFrame(pd.DataFrame(rng.normal(3, 2, size=(20_000, 2)), columns=["a", "b"]))
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("source", source), ("target", target)):
            rows.write.parquet(f"{folder}/{name}")
        streams = (ds.dataset(f"{folder}/{name}", format="parquet").to_batches for name in ("source", "target"))
        transport = SNOTTransport(max_iter=300, random_state=0).fit(*streams)
    images = source.mapInPandas(images_of(transport), schema=source.schema)  # lazy, as everything in Spark
    draws = source.mapInPandas(draws_of(transport, n_draws=2), schema=source.schema)
    print(images.count(), "images,", draws.count(), "draws")
    images.summary("mean", "stddev").show()
    spark.stop()


if __name__ == "__main__":
    main()
