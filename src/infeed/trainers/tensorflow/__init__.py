"""Everything that touches TensorFlow: a `tf.data.Dataset` of batches."""
