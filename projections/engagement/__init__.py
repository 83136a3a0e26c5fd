"""Unit of projection: likes, views, replies, retweets and quotes of every tweet, exact."""
