"""Names that a researcher gives to clips, each with a description."""

CLIP_PHRASES: tuple[tuple[str, str], ...] = (
    ("Checkout: hesitates at the coupon field", "Looks for a code for half a minute, then opens a new tab to search."),
    ("Checkout: trusts the payment page", "Points at the lock symbol and says that it looks safe."),
    ("Search: finds nothing for 'trainers'", "Tries three words; says that the shop should know that they mean shoes."),
    ("Search: praises the filters", 'Narrows to her size at once. "That\'s exactly what I needed."'),
    ("Sign-up: gives up on the password rules", "Third rejection; the rules appear only after the error."),
    ("Sign-up: surprised by the phone number", "Would rather not give it, and asks what it is for."),
    ("Home: first impression", "Thinks that it is a travel site until the second banner shows."),
    ("Home: overlooks the menu", "Scrolls to the footer to find the categories."),
    ("Pricing: cannot tell the plans apart", "Reads the table twice and still asks which one has exports."),
    ("Pricing: yearly or monthly?", "Takes the yearly price for the monthly one. Quote for the deck!"),
    ("Onboarding: skips the tour", 'Closes it on the first step: "I\'ll figure it out."'),
    ("Onboarding: the moment it clicks", "Sees her own data in the chart and smiles."),
    ("Navigation: back button loses the form", "Has to type the address again; audibly annoyed."),
    ("Accessibility: text too small", "Zooms to 150 % and the button leaves the screen."),
    ("Delivery: wants a date, not '3-5 days'", "Counts the days aloud to see whether it comes before Saturday."),
    ("Closing thoughts: would recommend", "Nine out of ten; one point off for the coupon field."),
)
