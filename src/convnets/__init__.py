"""The science of this book: data, models, training, metrics, theory and figures."""
