"""What the benches share: public sets, and how well traces stand for them."""
