"""Sentences that abstracts of any subject have, and how to recognise those about methods. All were made up here."""

from __future__ import annotations

import re

#: Plain sentences on how a study was done; none says what it found, or of what.
METHODS = (
    "A qualitative design was used.",
    "This was a cross-sectional study.",
    "We carried out a longitudinal study over three years.",
    "A multiple case study was conducted at six sites.",
    "A mixed-methods design combined a survey with interviews.",
    "Participants were selected by purposive sampling.",
    "Snowball sampling was used until saturation was reached.",
    "A convenience sample of 214 respondents was recruited by e-mail.",
    "Semi-structured interviews were held with 32 participants.",
    "Interviews lasted between 40 and 75 minutes, were audio-recorded and were transcribed verbatim.",
    "Five focus groups of six to nine people were held between March and October.",
    "Data were analysed thematically by two researchers independently.",
    "Transcripts were coded in NVivo, and disagreements were settled by discussion.",
    "We used the constant comparative method of grounded theory.",
    "Documents and field notes were subjected to content analysis.",
    "An online questionnaire with 28 items was sent to all eligible respondents.",
    "Items were rated on a five-point Likert scale.",
    "The response rate was 61%.",
    "Data were collected at baseline and after 6, 12 and 18 months.",
    "Associations were tested by multivariable logistic regression, adjusted for age and sex.",
    "Odds ratios are given with 95% confidence intervals.",
    "Means were compared by paired t-tests, and p values below 0.05 were considered significant.",
    "A multilevel model allowed for clustering within sites.",
    "MEDLINE, CINAHL, Embase and Scopus were searched from inception to June 2018.",
    "Two reviewers independently screened titles and abstracts and extracted the data.",
    "The review followed the PRISMA statement.",
    "Study quality was appraised with the Mixed Methods Appraisal Tool.",
    "Experts took part in a Delphi survey of three rounds.",
    "Ethical approval was obtained, and all participants gave written consent.",
    "Participants were randomly allocated in a ratio of 1:1, and outcome assessors were blinded.",
    "We did a cluster randomised trial with a waiting-list control group.",
    "Analysis was by intention to treat.",
)

#: What publishers and funders append.
NOTICES = (
    "© 2017 The Authors. Published by Elsevier Ltd.",
    "© 2020 John Wiley & Sons Ltd.",
    "Copyright © 2014 Elsevier Inc. All rights reserved.",
    "(c) 2012 Wiley Periodicals, Inc.",
    "This is an open access article distributed under the terms of the Creative Commons Attribution License.",
    "Published by Oxford University Press. All rights reserved.",
    "This work was supported by a grant from the National Institute for Health Research.",
    "Funding: Canadian Institutes of Health Research.",
    "This research received no specific grant from any funding agency.",
    "The authors declare that they have no competing interests.",
    "Trial registration: ISRCTN40123456.",
    "Trial registration number: NCT01234567.",
    "PROSPERO registration number: CRD42018012345.",
)

#: Keywords of any paper on health services.
KEYWORDS = (
    *("qualitative research", "health services research", "interviews", "surveys and questionnaires", "case studies"),
    *("humans", "adult", "female", "male", "cross-sectional studies", "primary care", "hospitals", "United Kingdom"),
    *("Canada", "Australia", "evaluation", "health policy", "systematic review", "implementation", "nursing"),
)

_CUE = re.compile(
    r"""
    \b(?: semi-?\s?structured | in-depth | face-to-face )\ interviews?
    | \b(?:interviews?|focus\ groups?)\ (?: were | was | with | of )\b
    | \b(?: interviewed | surveyed | recruited | randomi[sz]ed | transcribed | audio-?recorded | screened
      | purposive(?:ly)? | snowball | convenience\ sample | questionnaires? | ethnograph\w+ | thematic(?:ally)?
      | grounded\ theory
      | (?:content|documentary|regression|multivariate|statistical|comparative|secondary)\ analys[ei]s
      | regressions? | t-tests? | Likert | Delphi | mixed[- ]methods? | multi-?methods? | cross-sectional
      | longitudinal | (?:multiple\ |single\ |embedded\ )?case\ stud(?:y|ies)\ (?:was|were|of|at|in)
      | (?:were|was)\ (?:\w+ly\ )?(?:searched|collected|gathered|analysed|analyzed|coded|sampled|selected|administered)
      | (?:systematic|scoping|literature)\ (?:review|search)
      | MEDLINE | PubMed | CINAHL | Embase | EMBASE | Scopus | PsycINFO | Cochrane | Web\ of\ Science | PRISMA
      | ethic(?:s|al)\ approval | informed\ consent | control\ group | response\ rate )\b
    """,
    re.VERBOSE,
)
# A sentence with one of these may say what was found, whatever else it says.
_FINDING = re.compile(
    r"""
    \b(?: f[io]unds? | shows? | show(?:ed|n|ing) | reveal\w* | suggest\w* | indicat\w* | emerg\w* | identif\w+ | themes?
      | improv\w* | increas\w* | reduc\w* | associat\w+ | led | helped | help | needs? | needed | should | must | may
      | barriers? | facilitat\w* | enabl\w* | conclu\w+ | because | lack\w* | result\w* | demonstrat\w* | highlight\w*
      | agreed | said | felt | saw | described | reported | stressed | called | thought | perceived | valued | trust
      | aim(?:s|ed)? | sought | asks | asked | how | whether | why | looks | explor\w+ | related | predict\w*
      | effect\w* | support\w* | challeng\w* | conflict\w* | success\w* | important | significant\w*
      | power | shared | sharing )\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SECTION = re.compile(
    r"\b(?:method\w*|design|sampl\w+|setting|participants|data (?:collection|sources?|extraction)|patients|subjects)\b"
)


def is_methods(text: str, section: str = "") -> bool:
    """Whether a sentence says how a study was done, and nothing else.

    Parameters
    ----------
    section
        Heading that it stands under, as in `pipeline.records.Sentence`; one of methods decides.
        Without it a sentence is rather left than taken for one.
    """
    if section:
        return _SECTION.search(section) is not None
    return _CUE.search(text) is not None and _FINDING.search(text) is None
